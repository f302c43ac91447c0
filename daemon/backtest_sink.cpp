// Writing and grading during a backtest.
#include "daemon/backtest_sink.h"

#include <charconv>

#include "proto/prediction.h"
#include "proto/time.h"
#include "proto/value.h"

namespace accrete::daemon {
namespace {

std::string number_text(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return {text, end};
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

Result<std::unique_ptr<BacktestSink>> BacktestSink::open(const BacktestOptions& options) {
  std::unique_ptr<BacktestSink> sink(new BacktestSink);
  const auto make = [](const std::string& path, File& file) -> Status {
    if (path.empty()) return Ok{};
    file.reset(std::fopen(path.c_str(), "w"));
    if (!file) return Error{Errc::Unavailable, path + ": cannot be written"};
    return Ok{};
  };
  ACCRETE_DO(make(options.predictions_path, sink->predictions_file_));
  ACCRETE_DO(make(options.labels_path, sink->labels_file_));
  sink->write(sink->labels_file_, "task,as_of,entity,label\n");
  sink->windows_.push_back({"all", kTimeMin, kTimeMax});
  sink->windows_.insert(sink->windows_.end(), options.windows.begin(), options.windows.end());
  return sink;
}

void BacktestSink::write(const File& file, const std::string& line) {
  if (!file) return;
  write_failed_ |= std::fwrite(line.data(), 1, line.size(), file.get()) != line.size();
}

void BacktestSink::predictions(std::span<const store::StoredPrediction> predictions) {
  for (const store::StoredPrediction& prediction : predictions) {
    digest_.add(prediction.payload);
    ++count_;
    if (!predictions_file_) continue;
    auto line = prediction_json(prediction.payload);
    ACCRETE_CHECK(line.has_value());  // we encoded it ourselves
    write(predictions_file_, line.value() + '\n');
  }
}

void BacktestSink::label(const MaturedLabel& label) {
  ++labels_;
  if (!labels_file_) return;
  const bool classes =
      label.task->kind == TaskKind::Multiclass || label.task->kind == TaskKind::Ranking;
  write(labels_file_,
        csv_field(label.task->name) + ',' + format_time(label.as_of) + ',' +
            csv_field(key_text(label.entity_key)) + ',' +
            (classes ? csv_field(std::string(label.text)) : number_text(label.value)) + '\n');
}

BacktestSink::Cell& BacktestSink::cell(const GradedPrediction& graded, std::size_t window) {
  for (auto& cell : cells_) {
    if (cell->task == graded.task->name && cell->window == window &&
        cell->trigger == graded.trigger) {
      return *cell;
    }
  }
  cells_.push_back(std::make_unique<Cell>());
  Cell& made = *cells_.back();
  made.task = graded.task->name;
  made.window = window;
  made.trigger = graded.trigger;
  made.graded.assign(graded.outputs.size() + 1, models::Graded(graded.task->kind));
  return made;
}

const GradedSeries* BacktestSink::series(const std::string& task) const {
  const auto found = series_.find(task);
  return found == series_.end() ? nullptr : &found->second;
}

void BacktestSink::graded(const GradedPrediction& graded) {
  series_.try_emplace(graded.task->name, graded.task->kind, graded.outputs.size() + 1)
      .first->second.add(graded);
  for (std::size_t w = 0; w < windows_.size(); ++w) {
    if (graded.as_of < windows_[w].from || graded.as_of >= windows_[w].to) continue;
    Cell& target = cell(graded, w);
    for (std::size_t c = 0; c < graded.ranked.size(); ++c)
      target.graded[c].add(graded.ranked[c]);
    if (!graded.ranked.empty()) continue;
    for (std::size_t c = 0; c < graded.outputs.size(); ++c) {
      target.graded[c].add(graded.outputs[c], graded.label);
    }
    target.graded.back().add(*graded.mixed, graded.label, graded.interval);
  }
}

Status BacktestSink::close() {
  for (File* file : {&predictions_file_, &labels_file_}) {
    if (*file) write_failed_ |= std::fflush(file->get()) != 0;
    file->reset();
  }
  if (write_failed_) {
    return Error{Errc::Unavailable, "writing the output files failed; is the disk full?"};
  }
  return Ok{};
}

}  // namespace accrete::daemon
