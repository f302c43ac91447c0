// Writing the console's own sections.
#include "daemon/report_console.h"

#include <array>

#include "daemon/report_chart.h"
#include "daemon/report_tables.h"
#include "daemon/terminal.h"

namespace accrete::daemon::report {
namespace {

constexpr std::string_view kExplainScript = R"js(
(() => {
  const form = document.getElementById('ask');
  if (!form) return;
  const out = document.getElementById('explained');
  const say = (parent, name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  };
  const figure = (value) => value === null ? '–'
      : typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(4)
      : typeof value === 'object' ? JSON.stringify(value) : String(value);
  const when = (time) => (time ?? '–').replace('T', ' ').replace(/(\.\d+)?Z$/, '');
  const table = (caption, head, rows, last) => {
    const box = say(out, 'div', '', 'scroll');
    box.tabIndex = 0;
    const made = say(box, 'table', '');
    say(made, 'caption', caption);
    const first = say(say(made, 'thead', ''), 'tr', '');
    head.forEach((name, i) => say(first, 'th', name,
        i + 1 < head.length ? 'word' : last).scope = 'col');
    const body = say(made, 'tbody', '');
    for (const row of rows) {
      const line = say(body, 'tr', '');
      row.forEach((cell, i) =>
          say(line, 'td', cell, i + 1 < row.length ? 'word' : last));
    }
  };
  const show = (task, answer) => {
    out.replaceChildren();
    const facts = say(out, 'dl', '');
    const {candidates, seq, trigger, model, ...told} = answer.prediction;
    for (const [name, value] of Object.entries({...told, 'labels_learnt': model})) {
      if (value === null || value === undefined) continue;
      const fact = say(facts, 'div', '');
      say(fact, 'dt', name.replaceAll('_', ' '));
      say(fact, 'dd', name === 'as_of' ? when(value) : figure(value));
    }
    table('What the candidates say', ['candidate', 'weight in the mixture', 'says'],
        Object.entries(answer.weights).sort((a, b) => b[1] - a[1]).map(([name, weight]) =>
            [name, figure(weight), figure(candidates?.[name] ?? null)]), 'word');
    answer.rows.sort((a, b) => (a.time ?? '') < (b.time ?? '') ? 1 : -1);
    table('Rows that point to it, the newest of each kind', ['time', 'table', 'row'],
        answer.rows.map((one) => [when(one.time), one.table,
            Object.entries(one.row ?? {}).map(([name, value]) => name + ' ' + figure(value))
                .join(', ')]), 'word wrap');
    const features = Object.entries(answer.features)
        .sort((a, b) => Math.abs(b[1] ?? 0) - Math.abs(a[1] ?? 0));
    table('Features, the largest numbers first: no measure of their weight', ['feature', 'value'],
        features.slice(0, 40).map(([name, value]) => [name, figure(value)]), 'word');
    if (features.length > 40) say(out, 'p', features.length - 40 + ' more: accretectl explain ' +
        task + ' KEY', 'soft');
  };
  let asked = 0;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const number = ++asked;
    const task = form.elements.task.value;
    const query = new URLSearchParams([['task', task],
        ...form.elements.key.value.split('|').map((part) => ['key', part.trim()])]);
    out.setAttribute('aria-busy', 'true');
    out.replaceChildren();
    say(out, 'p', 'The fold answers between two groups of rows …', 'soft');
    try {
      const deadline = Date.now() + 30000;
      for (;;) {
        const answer = await fetch('/explain?' + query, {cache: 'no-store'});
        const text = await answer.text();
        if (number !== asked) return;
        if (answer.status === 202 && Date.now() < deadline) {
          await new Promise((done) => setTimeout(done, 200));
          continue;
        }
        if (answer.status === 200) show(task, JSON.parse(text));
        else { out.replaceChildren(); say(out, 'p', text.trim(), 'worse'); }
        break;
      }
    } catch (error) {
      out.replaceChildren();
      say(out, 'p', 'accreted does not answer: ' + error.message, 'worse');
    }
    out.removeAttribute('aria-busy');
  });
})();
)js";

std::string cell(const std::string& text, const char* kind = "") {
  return std::string("<td") + (*kind != 0 ? " class=\"" + std::string(kind) + "\"" : "") + ">" +
         escaped(text) + "</td>";
}

std::string whole(std::uint64_t value) {
  return cell(terminal::grouped(value));
}

/// From here on a table with this caption and these columns; the words before the numbers.
std::string table_head(const std::string& caption, const std::string& note, std::size_t words,
                       std::initializer_list<const char*> columns) {
  std::string out = "<div class=\"scroll\"><table><caption>" + caption +
                    (note.empty() ? "" : "<small>" + note + "</small>") + "</caption><thead><tr>";
  std::size_t i = 0;
  for (const char* column : columns) {
    out += std::string("<th scope=\"col\"") + (i++ < words ? " class=\"word\"" : "") + ">" +
           column + "</th>";
  }
  return out + "</tr></thead><tbody>\n";
}

constexpr std::string_view kTableEnd = "</tbody></table></div>\n";

std::string table_changes(const Running& running) {
  std::string out = table_head("Row changes folded", "since this process began", 1,
                               {"table", "inserts", "updates", "deletes", "truncates"});
  for (const TableChanges& table : running.tables) {
    out += "<tr><th scope=\"row\">" + escaped(table.table) + "</th>";
    for (const std::uint64_t count : table.changes)
      out += whole(count);
    out += "</tr>\n";
  }
  return out + std::string(kTableEnd);
}

std::string stage_table(const Running& running) {
  const auto time = [](double seconds) { return cell(terminal::duration_text(seconds)); };
  std::string out = table_head("Stages", "time for one batch, since this process began", 1,
                               {"stage", "batches", "mean", "half below", "99 % below"});
  for (const Stage& stage : running.stages) {
    out += "<tr><th scope=\"row\">" + escaped(stage.name) + "</th>" + whole(stage.count) +
           time(stage.seconds / static_cast<double>(stage.count)) + time(stage.p50) +
           time(stage.p99) + "</tr>\n";
  }
  return out + std::string(kTableEnd);
}

std::string subscriber_table(const Running& running) {
  if (running.subscribers.empty()) return "";
  std::string out = table_head("Named subscribers", "", 1, {"name", "acknowledged", "behind"});
  for (const Subscriber& subscriber : running.subscribers) {
    out += "<tr><th scope=\"row\">" + escaped(subscriber.name) + "</th>" +
           whole(subscriber.acknowledged) + whole(subscriber.behind) + "</tr>\n";
  }
  return out + std::string(kTableEnd);
}

std::string letter_table(const Running& running) {
  if (running.letters.empty()) {
    return "<p>" + terminal::grouped(running.dead_letters) +
           " refused: <code>accretectl dead-letters</code> shows them.</p>\n";
  }
  std::string note = "the newest " + terminal::grouped(running.letters.size()) + " of " +
                     terminal::grouped(running.dead_letters) +
                     "; records: <code>accretectl dead-letters</code>";
  std::string out = table_head("Dead letters", note, 5,
                               {"number", "sender", "position", "table", "reason", "bytes"});
  for (const Letter& letter : running.letters) {
    out += "<tr><th scope=\"row\">" + terminal::grouped(letter.number) + "</th>" +
           cell(letter.source, "word") + cell(terminal::grouped(letter.position), "word") +
           cell(letter.table.empty() ? "–" : letter.table, "word") +
           cell(letter.reason, "word wrap") + whole(letter.bytes) + "</tr>\n";
  }
  return out + std::string(kTableEnd);
}

}  // namespace

std::string running_sections(const Running& running) {
  std::string out =
      "<section id=\"rows\" aria-labelledby=\"rows-name\"><h2 id=\"rows-name\">Rows</h2>\n" +
      table_changes(running) + stage_table(running) + subscriber_table(running);
  if (running.dead_letters == 0)
    return out + "<p class=\"soft last\">No transaction was refused.</p>\n</section>\n";
  return out +
         "</section>\n<section id=\"refused\" aria-labelledby=\"refused-name\">"
         "<h2 id=\"refused-name\">Refused</h2>\n" +
         letter_table(running) + "</section>\n";
}

std::string explain_section(const Report& report) {
  if (report.tasks.empty()) return "";
  std::string options;
  for (const Task& task : report.tasks)
    options += "<option>" + escaped(task.name) + "</option>";
  return "<div class=\"below\"><section id=\"explain\" aria-labelledby=\"explain-name\">"
         "<h2 id=\"explain-name\">One prediction explained</h2>\n<p class=\"soft\">What the daemon "
         "would say now, and what that rests on. Nothing is published or learnt by asking.</p>\n"
         "<form id=\"ask\"><label>Task <select name=\"task\">" +
         options +
         "</select></label><label>Key <input name=\"key\" required autocomplete=\"off\" "
         "spellcheck=\"false\" placeholder=\"4711, or parts: a | b\"></label>"
         "<button>Explain</button></form>\n<div id=\"explained\" aria-live=\"polite\"></div>"
         "</section></div>\n";
}

std::string_view explain_script() {
  return kExplainScript;
}

}  // namespace accrete::daemon::report
