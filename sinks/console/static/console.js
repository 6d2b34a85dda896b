// Asks for live parts of the page again when the server says that alerts changed; keeps what is chosen. Keys: j k x a / Enter.
const parts = [...document.querySelectorAll("[data-live]")];
const chosen = () => new Set([...document.querySelectorAll("input[name=key]:checked")].map((box) => box.value));

let asking = false, again = false;
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  for (const part of parts) {
    const answer = await fetch(part.dataset.live).catch(() => null);
    if (answer && answer.redirected) { location.reload(); return; }
    if (answer && answer.ok) {
      const text = await answer.text(), before = chosen(), at = rows().indexOf(document.activeElement?.closest("tr"));
      part.innerHTML = text;
      for (const box of part.querySelectorAll("input[name=key]")) box.checked = before.has(box.value);
      if (at >= 0) rows()[Math.min(at, rows().length - 1)]?.querySelector("a")?.focus();
    }
  }
  asking = false;
  if (again) { again = false; refresh(); }
}

if (parts.length) {
  let seen = null;
  const stream = new EventSource("/changes");
  stream.addEventListener("changed", (event) => { if (seen !== null && event.data !== seen) refresh(); seen = event.data; });
  stream.onopen = () => { if (seen !== null) refresh(); };
  addEventListener("pagehide", () => stream.close());
}

const rows = () => [...document.querySelectorAll("table.alerts tbody tr")];
addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) for (const box of document.querySelectorAll("input[name=key]")) box.checked = event.target.checked;
  if (event.target.matches("[data-go]")) event.target.form.submit();
});
addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=checkbox]), textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = rows().indexOf(document.activeElement?.closest("tr"));
  const step = { j: 1, k: -1 }[event.key];
  if (step) rows()[Math.max(0, Math.min(rows().length - 1, at + step))]?.querySelector("a").focus();
  else if (event.key === "x" && at >= 0) rows()[at].querySelector("input")?.click();
  else {
    const named = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!named) return;
    if (!named.matches("button") && named.closest("details")) named.closest("details").open = true;
    if (named.matches("button")) { if (at >= 0 && !chosen().size) rows()[at].querySelector("input").checked = true; named.click(); } else named.focus();
  }
  event.preventDefault();
});
