// Visits pages in Chromium as a person does, and prints what they show. Reads one request from stdin; see tools.visit.

import fs from 'node:fs';
import {createRequire} from 'node:module';

const request = JSON.parse(fs.readFileSync(0, 'utf-8'));
const {chromium} = createRequire(request.modules)('playwright-core');
const args = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
];

// By name: what a visitor does.
const ACTIONS = {
  type: async (page, {selector, text}) => {
    await page.locator(selector).first().click();
    await page.keyboard.type(text);
  },
  fill: (page, {selector, text}) => page.locator(selector).first().fill(text),
  click: (page, {selector}) => page.locator(selector).first().click(),
  press: (page, {selector, key}) => page.locator(selector).first().press(key),
  select: (page, {selector, label}) => page.locator(selector).first().selectOption({label}),
  // Strokes of points, as shares of the width and the height.
  draw: async (page, {selector, strokes}) => {
    const box = await page.locator(selector).boundingBox();
    const to = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    for (const [first, ...others] of strokes) {
      await page.mouse.move(...to(first));
      await page.mouse.down();
      for (const point of others) await page.mouse.move(...to(point), {steps: 5});
      await page.mouse.up();
    }
  },
};

/** Waits until the page has answered what was entered last. */
const settle = async (page) => {
  let before = null;
  for (;;) {
    const now = await page.evaluate(() => `${document.body.dataset.ready} ${document.body.dataset.answered}`);
    if (now.startsWith('true') && now === before) return;
    before = now;
    await page.waitForTimeout(150);
  }
};

const browser = await chromium.launch({executablePath: request.chromium, args});
const shown = [];
try {
  for (const {name, url, width, height, actions} of request.visits) {
    const page = await browser.newPage({viewport: {width, height}});
    const problems = [];
    const requested = [];
    page.on('console', (message) => {
      // LiteRT.js writes what it does there as well.
      if (message.type() === 'error' && !/^(INFO|WARNING): /.test(message.text())) problems.push(message.text());
    });
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('request', (sent) => requested.push(`${sent.method()} ${sent.url()}`));
    await page.goto(url);
    await page.waitForFunction(() => document.body.dataset.ready || document.getElementById('error').textContent, null, {timeout: 60000});
    for (const {do: act, ...rest} of actions) {
      await ACTIONS[act](page, rest);
      await settle(page);
    }
    await page.screenshot({path: `${request.folder}/${name}.png`, fullPage: true});
    const found = await page.evaluate(() => ({
      answers: [...document.querySelectorAll('#answers [data-name]')].map((each) => [each.dataset.name, parseFloat(each.style.getPropertyValue('--share'))]),
      error: document.getElementById('error').textContent,
      status: document.getElementById('status').textContent,
      text: document.getElementById('text')?.value ?? '',
      isWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
      pixels: document.getElementById('seen') ? (() => {
        const {width, height} = document.getElementById('seen');
        const {data} = document.getElementById('seen').getContext('2d').getImageData(0, 0, width, height);
        return Array.from({length: width * height}, (_, place) => data[4 * place]);
      })() : [],
    }));
    shown.push({...found, problems, requested});
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(shown));
