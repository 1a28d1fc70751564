"""The work of the verbs on a Ray cluster: rows through Ray Data, training through Ray Train. Needs the extra `ray`."""
