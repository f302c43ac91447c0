// Style and script as they stand in the page.
#include "daemon/report_look.h"

namespace accrete::daemon::report {
namespace {

constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--paper:#fbfbf9;--card:#fff;--ink:#1d2126;--soft:#646b74;
--rule:#e4e5e2;--faint:#f1f1ee;--main:#0b57d0;--base:#b3b8be;--base2:#969ca4;--base3:#6c737c;
--alarm:#c62828;--born:#2e7d32;--good:#1b6e3c;--shade:#0b57d00d;
--c0:#c8553d;--c1:#2a9d8f;--c2:#d99a1c;--c3:#7b5ea7;--c4:#4f8a3c;--c5:#c2518b;
--c6:#3a86a8;--c7:#8f6b3f;--c8:#5b6abf;--c9:#9aa52b;--c10:#d0796b;--c11:#1f7a6d}
@media(prefers-color-scheme:dark){:root{--paper:#121417;--card:#191c20;--ink:#e7e9ec;--soft:#9aa2ac;
--rule:#2c3138;--faint:#21252a;--main:#8ab4f8;--base:#5d646d;--base2:#7b828b;--base3:#a3abb4;
--alarm:#ff8a80;--born:#81c995;--good:#81c995;--shade:#8ab4f812;
--c0:#e58a75;--c1:#5cc4b6;--c2:#e6bb5c;--c3:#ab92d4;--c4:#85bd72;--c5:#e08bb7;
--c6:#76b8d6;--c7:#bd9a6f;--c8:#929fe6;--c9:#c2cc63;--c10:#eba79b;--c11:#4fae9f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}
main,header.top,footer,.below{max-width:1080px;margin:0 auto;padding:0 20px}
header.top{padding-top:36px}
h1{font-size:26px;line-height:1.2;margin:0 0 2px;font-weight:650;letter-spacing:-.01em}
h2{font-size:20px;margin:0;font-weight:650;overflow-wrap:anywhere}
p{margin:2px 0}
.soft,footer,figcaption small,caption small{color:var(--soft);font-size:13px;font-weight:400}
.soft{overflow-wrap:anywhere}
a{color:var(--main);text-decoration-thickness:1px;text-underline-offset:2px}
dl{display:flex;flex-wrap:wrap;gap:10px 30px;margin:18px 0 0}
dt{color:var(--soft);font-size:12px}dd{margin:0;font-weight:550}
dd.long{font:12px/1.6 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;
overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;
padding:20px 22px 22px;margin:24px 0}
.kind{font-size:12px;color:var(--soft);border:1px solid var(--rule);border-radius:99px;
padding:1px 9px;margin-left:8px;vertical-align:3px;font-weight:400}
figure{margin:18px 0 0;overflow-x:auto}
figcaption,caption{font-size:14px;font-weight:600;text-align:left}
caption{padding-bottom:4px}
figcaption small,caption small{margin-left:8px}
svg.chart{display:block;width:100%;min-width:620px;height:auto;font-size:12px;outline-offset:2px}
.chart text{fill:var(--soft)}
.grid{stroke:var(--rule);fill:none}.stub{stroke:var(--base2);fill:none}
.curve{fill:none;stroke:var(--k);stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round;
vector-effect:non-scaling-stroke}
.curve.base{stroke-dasharray:5 3}.curve.base.second{stroke-dasharray:2 3}
.curve.base.third{stroke-dasharray:8 3 2 3}
.curve.main{stroke-width:2.6}
.layer{fill:var(--k);stroke:var(--card);stroke-width:.6;vector-effect:non-scaling-stroke;
fill-opacity:.85}
.shade rect{fill:var(--shade)}.shade text{font-size:11px}
.mark path{fill:var(--k)}.mark .stem{fill:none;stroke:var(--k);stroke-opacity:.4;
stroke-dasharray:2 3}
.alarm{--k:var(--alarm)}.event{--k:var(--c3)}.birth{--k:var(--born)}.rollback{--k:var(--alarm)}
.merge{--k:var(--c3)}.freeze{--k:var(--c6)}
.cursor{stroke:var(--ink);stroke-opacity:.5;visibility:hidden}
.legend{display:flex;flex-wrap:wrap;gap:4px 6px;margin:14px 0 0;padding:0;border:0}
.legend legend{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.legend label{display:inline-flex;align-items:center;gap:6px;font-size:13px;padding:2px 9px 2px 7px;
border:1px solid var(--rule);border-radius:99px;cursor:pointer;user-select:none}
.legend label:hover{background:var(--faint)}
.legend input{position:absolute;opacity:0;width:1px;height:1px}
.legend label:has(:focus-visible){outline:2px solid var(--main);outline-offset:1px}
.legend label:has(input:not(:checked)){color:var(--soft);border-style:dashed}
.legend label:has(input:not(:checked)) .key{opacity:.3}
.key{display:inline-block;width:14px;height:4px;border-radius:2px;background:var(--k);flex:none}
.key.main{height:5px}
.key.base{background:repeating-linear-gradient(90deg,var(--k) 0 4px,#0000 4px 6px)}
.key.glyph{width:auto;height:auto;background:none;color:var(--k);font-size:11px;line-height:1}
.scroll{overflow-x:auto;margin-top:20px}
table{border-collapse:collapse;font-size:13.5px;min-width:100%}
th,td{padding:4px 12px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:500;font-size:12.5px}
tbody th{font-weight:400}tr.main th,tr.main td{font-weight:650}tr.base th{color:var(--soft)}
td.best{color:var(--good);font-weight:650}td.best::before{content:"● ";font-size:7px;
vertical-align:2px}
td.word,th.word{text-align:left}
.better{color:var(--good)}.worse{color:var(--alarm)}
tbody tr:hover{background:var(--faint)}tbody th .key{margin-right:8px;vertical-align:3px}
details{margin-top:20px}
summary{cursor:pointer;font-size:14px;font-weight:600}
summary small{color:var(--soft);font-weight:400;margin-left:8px;font-size:13px}
.keys{display:flex;flex-wrap:wrap;gap:2px 14px;margin-top:6px}
.keys .key{margin-right:6px;vertical-align:3px}
.heat td{text-align:center;background:color-mix(in srgb,var(--main) calc(var(--v)*70%),var(--card))}
.heat td.strong{color:var(--card)}
.bar{display:inline-block;height:9px;border-radius:2px;background:var(--k);vertical-align:0;
width:calc(var(--v)*220px);min-width:1px}
.tip{position:fixed;z-index:9;pointer-events:none;background:var(--card);color:var(--ink);
border:1px solid var(--rule);border-radius:8px;box-shadow:0 6px 22px #0003;padding:8px 11px;
font-size:12.5px;line-height:1.45;visibility:hidden;left:0;top:0}
.tip b{display:block}.tip span.soft{font-size:12px;display:block;margin-bottom:3px}
.tip div{display:flex;align-items:center;gap:7px}.tip div i{font-style:normal;margin-left:auto;
padding-left:16px}
.tip div.main{font-weight:650}
footer{padding-bottom:40px}
td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:18em;width:100%}p.last{margin-top:14px}
code{font-size:.92em}
#ask{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:end;margin-top:14px}
#ask label{display:grid;gap:2px;font-size:13px;color:var(--soft)}
#ask input,#ask select,#ask button{font:inherit;color:var(--ink);background:var(--card);
border:1px solid var(--rule);border-radius:6px;padding:5px 10px;min-height:34px}
#ask input{min-width:16em}#ask button{cursor:pointer;font-weight:600}
#ask button:hover{background:var(--faint)}
#ask :focus-visible,.scroll:focus-visible{outline:2px solid var(--main);outline-offset:1px}
#stale{position:fixed;left:0;right:0;bottom:0;margin:0;padding:10px 20px;
background:var(--alarm);color:var(--paper);font-weight:600}
@media print{section{break-inside:avoid}body{background:#fff}}
)css";

constexpr std::string_view kScript = R"js(
const draw = () => {
  const data = JSON.parse(document.getElementById('data').textContent);
  document.querySelector('.tip')?.remove();
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.setAttribute('role', 'status');
  document.body.append(tip);
  const put = (parent, name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  };
  const when = (us) => new Date(us / 1000).toISOString().replace('T', ' ')
      .replace(/(:00)?\.000Z$/, '').replace(/ 00:00$/, '').replace('Z', '');
  for (const svg of document.querySelectorAll('svg.chart')) {
    const chart = data.charts[svg.id];
    if (!chart) continue;
    const axis = data.axes[chart.axis];
    const box = svg.closest('section');
    const from = +svg.dataset.from, span = Math.max(1, svg.dataset.to - from);
    const left = +svg.dataset.left, width = +svg.dataset.width;
    const place = (i) => axis.at.length < 2 && span === 1 ? width / 2
        : (axis.at[i] - from) / span * width;
    const cursor = svg.querySelector('.cursor');
    let now = axis.at.length - 1;
    const shown = (s) => svg.dataset.kind === 'shares' ||
        (box.querySelector(`[data-s="${s}"]`)?.checked ?? true);
    const hide = () => { tip.style.visibility = cursor.style.visibility = 'hidden'; };
    const show = (i) => {
      now = i;
      const at = svg.getBoundingClientRect();
      const x = place(i), scale = at.width / svg.viewBox.baseVal.width;
      cursor.setAttribute('x1', x);
      cursor.setAttribute('x2', x);
      tip.replaceChildren();
      put(tip, 'b', when(axis.at[i]));
      if (axis.count) put(tip, 'span', axis.count[i].toLocaleString('en') + ' graded', 'soft');
      const sign = chart.up ? -1 : 1;
      chart.values.map((list, s) => ({s, value: list[i]}))
          .filter((e) => e.value !== null && shown(e.s) && (!chart.shares || e.value >= 0.005))
          .sort((a, b) => sign * (a.value - b.value)).slice(0, 14).forEach((e) => {
        const row = put(tip, 'div', '', chart.names[e.s] === 'mixture' ? 'main' : '');
        put(row, 'span', '', 'key').style.setProperty('--k', chart.colours[e.s]);
        put(row, 'span', chart.names[e.s]);
        put(row, 'i', chart.shares ? (100 * e.value).toFixed(1) + ' %'
            : Math.abs(e.value) < 100 ? e.value.toFixed(4) : String(e.value));
      });
      const wide = tip.offsetWidth, high = tip.offsetHeight;
      let px = at.left + (left + x) * scale + 14;
      if (px + wide > innerWidth - 8) px -= wide + 28;
      tip.style.left = Math.max(8, px) + 'px';
      tip.style.top = Math.max(8, Math.min(at.top + 24, innerHeight - high - 8)) + 'px';
      tip.style.visibility = cursor.style.visibility = 'visible';
    };
    svg.addEventListener('pointermove', (event) => {
      const at = svg.getBoundingClientRect();
      const x = (event.clientX - at.left) / at.width * svg.viewBox.baseVal.width - left;
      const wanted = from + x / width * span;
      let low = 0, high = axis.at.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (axis.at[middle] < wanted) low = middle + 1; else high = middle;
      }
      if (low > 0 && wanted - axis.at[low - 1] < axis.at[low] - wanted) --low;
      show(low);
    });
    svg.addEventListener('pointerleave', hide);
    svg.addEventListener('blur', hide);
    svg.tabIndex = 0;
    svg.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9}[event.key];
      if (event.key === 'Escape') hide();
      if (!step) return;
      event.preventDefault();
      show(Math.max(0, Math.min(axis.at.length - 1, now + step)));
    });
  }
};
draw();
)js";

constexpr std::string_view kConsoleScript = R"js(
(() => {
  const stale = document.getElementById('stale');
  const boxes = () => [...document.querySelectorAll('section input[data-s]')];
  const name = (box) => box.closest('section').id + ' ' + box.dataset.s;
  const renew = async () => {
    const answer = await fetch(location.href, {cache: 'no-store'});
    const text = await answer.text();
    if (!answer.ok) return text.trim();
    const fresh = new DOMParser().parseFromString(text, 'text/html');
    const wanted = new Map(boxes().map((box) => [name(box), box.checked]));
    for (const part of ['style', 'header.top', 'main', '#data'])
      document.querySelector(part).replaceWith(fresh.querySelector(part));
    for (const box of boxes()) box.checked = wanted.get(name(box)) ?? box.checked;
    draw();
    return '';
  };
  const turn = async () => {
    if (!document.querySelector('svg.chart:hover, svg.chart:focus')) {
      const trouble = await renew().catch((error) => error.message);
      stale.textContent = 'accreted does not answer: ' + trouble;
      stale.hidden = trouble === '';
    }
    setTimeout(turn, 2000);
  };
  setTimeout(turn, 2000);
})();
)js";

}  // namespace

std::string style_sheet(std::size_t toggles) {
  std::string out(kStyle);
  const auto hide = [&](const std::string& key, const std::string& selector) {
    out += "section:has([data-s=\"" + key + "\"]:not(:checked)) " + selector + "{display:none}\n";
  };
  for (std::size_t s = 0; s < toggles; ++s)
    hide(std::to_string(s), ".chart .s" + std::to_string(s));
  for (const char* kind : {"alarm", "event"})
    hide(kind, std::string(".chart .") + kind);
  return out;
}

std::string_view script() {
  return kScript;
}

std::string_view console_script() {
  return kConsoleScript;
}

}  // namespace accrete::daemon::report
