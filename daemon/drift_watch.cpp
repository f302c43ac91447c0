// Feeding the detectors, keeping their alarms.
#include "daemon/drift_watch.h"

#include <cmath>
#include <utility>

#include "daemon/saved.h"
#include "models/mixer.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

// Detectors sum squares: beyond this a loss would make them infinite for good.
constexpr double kLossMax = 1e100;

models::Adwin fresh_adwin() {
  models::AdwinOptions options;
  options.look_every = 1;
  return models::Adwin(options);
}

std::string blob_key(const std::string& task) {
  return task + "/drift";
}

}  // namespace

DriftWatch::DriftWatch() : adwin_(fresh_adwin()) {}

void DriftWatch::grade(TaskKind kind, const models::Output& mixed, double label) {
  if (models::says_nothing(kind, mixed)) return;
  grade(models::loss_of(kind, mixed, label));
}

void DriftWatch::grade(double loss) {
  if (!(std::abs(loss) <= kLossMax)) return;
  open_loss_ += loss;
  open_count_ += 1;
}

void DriftWatch::settle(TimeUs at, std::uint64_t model) {
  if (open_count_ == 0) return;
  const double loss = std::exchange(open_loss_, 0) / std::exchange(open_count_, 0);
  dirty_ = true;
  const auto rise = page_hinkley_.add(loss);
  if (rise) raise(DriftDetector::PageHinkley, *rise, at, model);
  const auto cut = adwin_.add(loss);
  if (!cut) return;
  if (cut->after > cut->before) {
    raise(DriftDetector::Adwin, *cut, at, model);
    adwin_ = fresh_adwin();
  } else {
    page_hinkley_ = models::PageHinkley();
  }
}

void DriftWatch::raise(DriftDetector detector, const models::Shift& shift, TimeUs at,
                       std::uint64_t model) {
  DriftAlarm alarm;
  alarm.detector = detector;
  alarm.count = ++counts_[static_cast<std::size_t>(detector)];
  alarm.as_of = at;
  alarm.before = shift.before;
  alarm.after = shift.after;
  alarm.window = shift.window;
  alarm.model = model;
  alarms_.push_back(std::move(alarm));
}

Status DriftWatch::tell(const std::function<Status(DriftAlarm&)>& complete) {
  while (told_ < alarms_.size()) {
    ACCRETE_DO(complete(alarms_[told_]));
    ++told_;
  }
  if (alarms_.size() > limits::drift_alarms_max) {
    const std::size_t old = alarms_.size() - limits::drift_alarms_max;
    alarms_.erase(alarms_.begin(), alarms_.begin() + static_cast<std::ptrdiff_t>(old));
    told_ = alarms_.size();
  }
  return Ok{};
}

const DriftAlarm* DriftWatch::newest(DriftDetector detector) const {
  for (auto alarm = alarms_.rbegin(); alarm != alarms_.rend(); ++alarm) {
    if (alarm->detector == detector) return &*alarm;
  }
  return nullptr;
}

void DriftWatch::save(std::string& out) const {
  ACCRETE_CHECK(told_ == alarms_.size());
  ByteWriter writer(out);
  put_saved(writer, adwin_);
  put_saved(writer, page_hinkley_);
  for (const std::uint64_t count : counts_)
    writer.put(count);
  writer.put(open_loss_);
  writer.put(open_count_);
  writer.put(static_cast<std::uint64_t>(alarms_.size()));
  for (const DriftAlarm& alarm : alarms_) {
    std::string bytes;
    encode_drift_alarm(alarm, bytes);
    writer.put_text(bytes);
  }
}

Status DriftWatch::load_bytes(std::string_view bytes) {
  ByteReader reader(bytes);
  DriftWatch read;
  ACCRETE_DO(read.adwin_.load(reader.get_text()));
  ACCRETE_DO(read.page_hinkley_.load(reader.get_text()));
  for (std::uint64_t& count : read.counts_)
    count = reader.get<std::uint64_t>();
  read.open_loss_ = reader.get<double>();
  read.open_count_ = reader.get<double>();
  for (auto left = reader.get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    ACCRETE_TRY(DriftAlarm alarm, decode_drift_alarm(reader.get_text()));
    read.alarms_.push_back(std::move(alarm));
  }
  if (!reader.done()) return Error{Errc::Corruption, "stored drift detectors do not decode"};
  read.told_ = read.alarms_.size();
  *this = std::move(read);
  return Ok{};
}

void DriftWatch::stage(const std::string& task, store::State& state) {
  if (!dirty_) return;
  std::string bytes;
  save(bytes);
  state.put(Section::Blobs, blob_key(task), bytes);
  dirty_ = false;
}

Status DriftWatch::load(const std::string& task, const store::State& state) {
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, blob_key(task), bytes));
  if (!stored) return Ok{};
  const Status read = load_bytes(bytes);
  if (read) return Ok{};
  return Error{Errc::Corruption, "task \"" + task + "\": " + read.error().detail};
}

}  // namespace accrete::daemon
