"""Which of TFP's classes a saved flow may name: those that only keep their arguments, or compute with what these hold.

Left out are those that take functions, which no file holds, and those whose size is a number in the file and not an
array in it: networks, quadratures and lists of states.
"""

BIJECTORS = frozenset(
    """
    AbsoluteValue Ascending BatchNormalization Blockwise Chain CholeskyOuterProduct CholeskyToInvCholesky
    CorrelationCholesky Cumsum DiscreteCosineTransform Exp Expm1 FillScaleTriL FillTriangular FrechetCDF
    GeneralizedExtremeValueCDF GeneralizedPareto GompertzCDF GumbelCDF Householder Identity Invert
    IteratedSigmoidCentered KumaraswamyCDF LambertWTail Log Log1p MatrixInverseTriL MatvecLU MoyalCDF NormalCDF Pad
    Permute Power PowerTransform RationalQuadraticSpline RayleighCDF Reciprocal Reshape Scale ScaleMatvecDiag
    ScaleMatvecLU ScaleMatvecTriL Shift ShiftedGompertzCDF Sigmoid Sinh SinhArcsinh SoftClip Softfloor SoftmaxCentered
    Softplus Softsign Split Square Tanh TransformDiagonal Transpose UnitVector WeibullCDF
    """.split()
)
DISTRIBUTIONS = frozenset(
    """
    BatchBroadcast BatchConcat BatchReshape Bernoulli Beta BetaBinomial BetaQuotient Binomial Blockwise Categorical
    Cauchy Chi Chi2 ContinuousBernoulli Deterministic Dirichlet DirichletMultinomial DoublesidedMaxwell Empirical
    ExpGamma ExpInverseGamma ExpRelaxedOneHotCategorical Exponential ExponentiallyModifiedGaussian FiniteDiscrete
    FlatDirichlet Gamma GammaGamma GeneralizedExtremeValue GeneralizedNormal GeneralizedPareto Geometric Gumbel
    HalfCauchy HalfNormal HalfStudentT Horseshoe Independent Inflated InverseGamma InverseGaussian JohnsonSU
    JointDistributionNamed JointDistributionSequential Kumaraswamy LambertWNormal Laplace LogLogistic LogNormal Logistic
    LogitNormal Masked Mixture MixtureSameFamily Moyal Multinomial MultivariateNormalDiag
    MultivariateNormalDiagPlusLowRank MultivariateNormalDiagPlusLowRankCovariance MultivariateNormalFullCovariance
    MultivariateNormalTriL NegativeBinomial NoncentralChi2 Normal NormalInverseGaussian OneHotCategorical
    OrderedLogistic PERT Pareto PlackettLuce Poisson PowerSpherical ProbitBernoulli QuantizedDistribution
    RelaxedBernoulli RelaxedOneHotCategorical Sample SigmoidBeta SinhArcsinh Skellam SphericalUniform
    StoppingRatioLogistic StudentT TransformedDistribution Triangular TruncatedCauchy TruncatedNormal TwoPieceNormal
    TwoPieceStudentT Uniform VectorDeterministic VonMises VonMisesFisher Weibull ZeroInflatedNegativeBinomial Zipf
    """.split()
)
