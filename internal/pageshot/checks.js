// A function from the width of the window to a list of findings: sentences. It runs
// in the page, whether or not the page's own scripts do.
(width) => {
  const findings = [];
  const found = (what) => { if (!findings.includes(what)) findings.push(what); };
  const all = (selector, below = document) => [...below.querySelectorAll(selector)];
  const text = (e) => (e.textContent || "").replace(/\s+/g, " ").trim();

  // Of texts of one place, the first is told and the others are counted.
  const places = new Map();
  const foundText = (e, kind, what) => {
    const above = e.closest("svg[id]") || e.closest("[id]");
    const key = kind + " #" + (above ? above.id : "");
    const first = places.get(key) || { text: `${where(e)}: ${what}`, more: 0 };
    if (places.has(key)) first.more++;
    places.set(key, first);
  };

  // where names an element so that it is found in the source.
  const where = (e) => {
    const id = e.id ? "#" + e.id : "";
    const words = text(e).slice(0, 40);
    const classes = (e.getAttribute("class") || "").trim().split(/\s+/).filter(Boolean).map((c) => "." + c).join("");
    const above = id ? null : e.closest("[id]");
    return `<${e.localName}${id || classes}>` + (words ? ` "${words}"` : "") + (above ? ` in #${above.id}` : "");
  };
  const hidden = (e) => e.closest("[aria-hidden=true]") !== null;

  // The page itself.
  if (!document.documentElement.lang) found("<html> has no lang");
  if (!document.title.trim()) found("no <title>");
  const viewport = document.querySelector("meta[name=viewport]");
  if (!viewport || !/width\s*=\s*device-width/.test(viewport.content)) found('no <meta name="viewport"> with width=device-width');
  if (all("main, [role=main]").length !== 1) found(`got ${all("main, [role=main]").length} <main>, want 1`);
  const ids = new Map();
  for (const e of all("[id]")) ids.set(e.id, (ids.get(e.id) || 0) + 1);
  for (const [id, n] of ids) if (n > 1) found(`id "${id}" is there ${n} times`);

  // label is what aria gives as a name.
  const label = (e) => {
    const by = (e.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    for (const id of by) if (!ids.has(id)) found(`${where(e)}: aria-labelledby names "${id}", which is not there`);
    return by.map((id) => ids.has(id) ? text(document.getElementById(id)) : "").join(" ").trim() || (e.getAttribute("aria-label") || "").trim();
  };

  // Pictures.
  const decorative = (e) => hidden(e) || ["presentation", "none"].includes(e.getAttribute("role"));
  for (const e of all("img, input[type=image], area[href]")) {
    if (!decorative(e) && !label(e) && !(e.getAttribute("alt") || "").trim()) found(`${where(e)} ${(e.getAttribute("src") || "").slice(0, 60)} has no text alternative (alt)`);
  }
  for (const e of all("svg")) {
    if (e.parentElement && e.parentElement.closest("svg")) continue;
    const title = [...e.children].find((c) => c.localName === "title");
    if (decorative(e)) continue;
    if (!label(e) && !(title && text(title))) found(`${where(e)} has no text alternative (title, aria-label or aria-labelledby)`);
    if (e.getAttribute("role") !== "img") found(`${where(e)} has no role="img"`);
  }
  for (const e of all("canvas, video, audio, object, embed, iframe, [role=img]:not(svg):not(img)")) {
    if (!decorative(e) && !label(e) && !(e.getAttribute("title") || "").trim()) found(`${where(e)} has no text alternative`);
  }

  // What is followed or pressed.
  for (const e of all("a[href], button, summary")) {
    const inside = all("img[alt], svg", e).map((i) => i.localName === "img" ? i.alt : label(i)).join("").trim();
    if (!label(e) && !text(e) && !inside) found(`${where(e)} has no text`);
    const href = e.getAttribute("href") || "";
    if (href.length > 1 && href[0] === "#" && !document.getElementById(decodeURIComponent(href.slice(1)))) found(`${where(e)} leads to ${href}, which is not there`);
  }
  for (const e of all("input:not([type=hidden]):not([type=image]), select, textarea")) {
    if (!label(e) && !(e.labels && e.labels.length)) found(`${where(e)} has no label`);
  }

  // Headings.
  let level = 0;
  const headings = all("h1, h2, h3, h4, h5, h6");
  const h1 = headings.filter((h) => h.localName === "h1").length;
  if (h1 !== 1) found(`got ${h1} <h1>, want 1`);
  for (const h of headings) {
    const n = Number(h.localName[1]);
    if (!text(h)) found(`${where(h)} is empty`);
    if (n > level + 1) found(`${where(h)} follows ${level ? "<h" + level + ">" : "no heading"}`);
    level = n;
  }

  // Tables.
  for (const t of all("table")) {
    if (decorative(t)) continue;
    if (!(t.caption && text(t.caption)) && !label(t)) found(`${where(t)} has no caption`);
    const head = all("th", t);
    if (!head.length) found(`${where(t)} has no header cells (th)`);
    for (const h of head) if (!text(h) && !label(h)) found(`${where(t)} has an empty header cell`);
  }

  // Everything is shown from here on.
  const wide = (when) => {
    const got = document.documentElement.scrollWidth;
    if (got <= width) return;
    const clipped = (e) => {
      for (let a = e.parentElement; a && a !== document.body; a = a.parentElement) if (getComputedStyle(a).overflowX !== "visible") return true;
      return false;
    };
    const out = all("body *").filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest("svg *") && !clipped(e));
    found(`${got} pixels wide${when}, ${width} are there: ${out.slice(0, 3).map(where).join(", ")}`);
  };
  wide("");
  for (const d of all("details")) d.open = true;
  wide(" with all <details> open");

  for (const e of all("body *")) {
    const s = getComputedStyle(e);
    const scrolls = e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(s.overflowX) || e.scrollHeight > e.clientHeight + 1 && ["auto", "scroll"].includes(s.overflowY);
    if (scrolls && e.clientWidth && e.tabIndex < 0 && !e.querySelector("a[href], button, input, [tabindex='0']")) found(`${where(e)} scrolls, and no keyboard reaches it (tabindex="0")`);
  }

  // Colours: [red, green, blue, alpha], or null if not plain.
  const parse = (c) => {
    let m = /^rgba?\(([^)]*)\)$/.exec(c);
    if (m) {
      const v = m[1].split(/[\s,/]+/).map(Number);
      return [v[0] / 255, v[1] / 255, v[2] / 255, v.length > 3 ? v[3] : 1];
    }
    m = /^color\(srgb ([^)]*)\)$/.exec(c);
    if (!m) return null;
    const v = m[1].split(/[\s/]+/).map(Number);
    return [v[0], v[1], v[2], v.length > 3 ? v[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * (c[i] <= 0.04045 ? c[i] / 12.92 : ((c[i] + 0.055) / 1.055) ** 2.4), 0);
  const contrast = (a, b) => {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  const faded = (c, alpha) => [c[0], c[1], c[2], c[3] * alpha];

  // The colour below an element of HTML, or null where there is a picture.
  const canvas = parse(getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)");
  const ground = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      const c = parse(s.backgroundColor);
      if (s.backgroundImage !== "none" || !c) return null;
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((below, c) => over(c, below), canvas);
  };
  // The colour below a text of a drawing: its halo, or the shapes painted before.
  const painted = (e, x, y) => {
    const s = getComputedStyle(e);
    if (s.paintOrder.startsWith("stroke") && parseFloat(s.strokeWidth) >= 2) {
      const halo = parse(s.stroke);
      if (halo && halo[3] === 1) return halo;
    }
    let drawing = e.closest("svg");
    while (drawing.parentElement.closest("svg")) drawing = drawing.parentElement.closest("svg");
    let below = ground(drawing);
    for (const g of all("rect, circle, ellipse, polygon, path", drawing)) {
      if (!(g.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
      const t = getComputedStyle(g);
      if (t.fill === "none" || g.closest("clipPath, defs") || !g.getScreenCTM()) continue;
      if (!g.isPointInFill(new DOMPoint(x, y).matrixTransform(g.getScreenCTM().inverse()))) continue;
      const c = parse(t.fill);
      if (!c) return null;
      const layer = faded(c, t.fillOpacity * t.opacity);
      if (layer[3] === 1) below = layer;
      else if (below) below = over(layer, below);
    }
    return below;
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest("script, style, noscript, template, title, desc, head")) continue;
    const range = document.createRange();
    range.selectNodeContents(n);
    const box = range.getBoundingClientRect();
    const s = getComputedStyle(e);
    if (box.width <= 1 || box.height <= 1 || box.right <= 0 || box.bottom + scrollY <= 0 || s.visibility !== "visible") continue;
    if (e.checkVisibility && !e.checkVisibility({ opacityProperty: true })) continue;
    const svg = e.closest("svg");
    const matrix = svg && e.getScreenCTM ? e.getScreenCTM() : null;
    const size = parseFloat(s.fontSize) * (matrix ? Math.hypot(matrix.a, matrix.b) : 1);
    if (size < 9) foundText(e, "size", `text of ${size.toFixed(1)} pixels`);
    let front = parse(svg ? s.fill : s.color);
    const back = svg ? painted(e, (box.left + box.right) / 2, (box.top + box.bottom) / 2) : ground(e);
    if (!front || !back) continue;
    let alpha = svg ? Number(s.fillOpacity) : 1;
    for (let a = e; a; a = a.parentElement) alpha *= getComputedStyle(a).opacity;
    const got = contrast(over(faded(front, alpha), back), back);
    const large = size >= 24 || size >= 18.66 && Number(s.fontWeight) >= 700;
    const want = large ? 3 : 4.5;
    if (got < want - 0.005) foundText(e, "contrast", `contrast ${got.toFixed(2)}, want ${want}`);
  }
  for (const f of places.values()) found(f.text + (f.more ? `, and ${f.more} more beside it` : ""));
  return findings;
}
