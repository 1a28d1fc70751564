// Looks at reports in a browser without a window: check_report.mjs BROWSER FOLDER PAGE.html...
// Fails if a page asks for anything from elsewhere, logs an error, is wider than the screen, is over 3 MB, or if axe-core
// finds something serious in light or dark. Screenshots at three widths go to FOLDER.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const WIDTHS = [360, 768, 1440];
const SERIOUS = ["serious", "critical"];
const MAX_BYTES = 3_000_000;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const [browserPath, folder, ...pages] = process.argv.slice(2);
const faults = [];

const browser = await puppeteer.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
fs.mkdirSync(folder, { recursive: true });
for (const file of pages) {
  const stem = path.basename(file, ".html");
  const fail = (what) => faults.push(`${file}: ${what}`);
  const bytes = fs.statSync(file).size;
  if (bytes > MAX_BYTES) fail(`${bytes} bytes`);
  for (const scheme of ["light", "dark"]) {
    for (const width of WIDTHS) {
      const page = await browser.newPage();
      page.on("console", (message) => message.type() === "error" && fail(message.text()));
      page.on("pageerror", (error) => fail(String(error)));
      page.on("request", (request) => {
        if (!/^(file|data|blob):/.test(request.url())) fail(`asks for ${request.url()}`);
      });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
      await page.goto(pathToFileURL(file).href);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) fail(`${wide} pixels wide on a screen of ${width}`);
      const name = path.join(folder, `${stem}-${width}${scheme === "dark" ? "-dark" : ""}`);
      // The whole page is looked at; its first screens are kept.
      await page.screenshot({ path: `${name}-whole.png`, fullPage: true });
      await page.screenshot({ path: `${name}.png`, clip: { x: 0, y: 0, width, height: width < 500 ? 1600 : 1200 } });
      await page.addScriptTag({ path: axe });
      const { violations } = await page.evaluate(() => axe.run());
      for (const { id, impact, help, nodes } of violations) {
        const words = `axe-core, ${scheme}, ${width} pixels: ${impact} ${id}: ${help}: ${nodes[0].html.slice(0, 120)}`;
        if (SERIOUS.includes(impact)) fail(words);
        else console.log(`${file}: ${words}`);
      }
      await page.close();
    }
  }
  console.log(`${file}: ${bytes} bytes, looked at in ${WIDTHS.join(", ")} pixels, light and dark`);
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
