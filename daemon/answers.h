// Answers to questions on the control socket, given by the fold thread between two slices.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <stream.pb.h>

#include "daemon/fold.h"
#include "daemon/gauges.h"
#include "proto/result.h"
#include "store/database.h"
#include "store/log.h"
#include "store/prediction_log.h"

namespace accrete::daemon {

class LiveSink;

class Answers {
 public:
  struct World {
    Fold* fold = nullptr;
    store::Database* database = nullptr;
    store::Log* log = nullptr;
    store::PredictionLog* predictions = nullptr;
    const Gauges* gauges = nullptr;
    const LiveSink* told = nullptr;
    std::function<std::size_t()> queued;  ///< committed groups waiting for the fold
    std::function<Status()> drain;        ///< fold all that is durable, then commit
    std::function<Result<std::string>()>
        reload;  ///< JSON: what was reloaded and what needs a restart
  };
  explicit Answers(World world) : world_(std::move(world)) {}

  /// Serialized wire.FromControl for a serialized wire.ToControl. Never fails: errors are Faults.
  std::string answer(std::string_view question);
  /// Whether answering it folds or commits.
  static bool folds(std::string_view question);

  /// The JSON of a status alone.
  Result<std::string> status(const wire::StatusRequest& request) const;

 private:
  Result<std::string> explain(const wire::ExplainQuery& query) const;
  Status predict(const wire::PredictQuery& query, wire::Predictions& out) const;
  Status dead_letters(const wire::DeadLettersRequest& request, wire::DeadLetters& out) const;
  Result<AnyTask*> task(const std::string& name) const;
  Status fill(const wire::ToControl& question, wire::FromControl& answer);

  World world_;
};

}  // namespace accrete::daemon
