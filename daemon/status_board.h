// The daemon's status as the fold last told it, for threads that may not ask the fold and wait.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace accrete::daemon {

class StatusBoard {
 public:
  struct Note {
    std::string json;  ///< answer to a StatusRequest with alarms and course
    double at = 0;     ///< steady_seconds() when it was written
  };

  /// The newest note, or null before the first. Whoever reads is interested: for a minute the fold
  /// renews it every second instead of every ten. Threads: any.
  std::shared_ptr<const Note> read(double now) {
    const std::lock_guard lock(mutex_);
    read_at_ = now;
    return note_;
  }

  /// Whether it is time for a new one.
  bool due(double now) const {
    const std::lock_guard lock(mutex_);
    return !note_ || now - note_->at >= (now - read_at_ < kInterest ? kShort : kLong);
  }

  void write(std::string json, double now) {
    auto note = std::make_shared<const Note>(Note{std::move(json), now});
    const std::lock_guard lock(mutex_);
    note_ = std::move(note);
  }

 private:
  static constexpr double kInterest = 60;
  static constexpr double kShort = 1;
  static constexpr double kLong = 10;

  mutable std::mutex mutex_;
  std::shared_ptr<const Note> note_;
  double read_at_ = -kInterest;
};

}  // namespace accrete::daemon
