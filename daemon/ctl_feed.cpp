// accretectl feed: rows from files, a git repository or standard input into the daemon, each once.
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <stream.pb.h>
#include <unistd.h>

#include "daemon/ctl_commands.h"
#include "daemon/ctl_endpoint.h"
#include "daemon/event_reader.h"
#include "daemon/feed_place.h"
#include "daemon/row_source.h"
#include "daemon/terminal.h"
#include "stream/client.h"

namespace accrete::daemon {
namespace {

constexpr char kLayoutTag = 0x0A;  // wire.Record: field 1, length-delimited

/// What all feeds share.
struct FeedFlags {
  EndpointFlags endpoint;
  std::string ingest;  ///< "" = the configuration's
  std::string source;  ///< "" = the row source's own name
  bool keep_going = false;

  void add_to(CLI::App& command) {
    endpoint.add_to(command);
    command.add_option("--ingest", ingest, "address to send to instead of [endpoints] ingest");
    command.add_option("--source", source,
                       "name under which the daemon keeps the position of this feed");
  }
};

/// Standard input has nothing to read at the moment.
bool input_is_idle() {
  if (std::cin.rdbuf()->in_avail() > 0) return false;
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) == 0;
}

class Feed {
 public:
  Feed(RowSource& source, stream::Producer& producer, bool appends)
      : source_(source),
        producer_(producer),
        durable_(producer.durable_position()),
        appends_(appends),
        progress_("feed") {}

  /// Send everything behind the durable position. `keep_going`: leave out bad lines.
  /// `set_aside`: how many transactions of this source the daemon has set aside by then.
  Result<Exit> run(bool keep_going, const std::function<std::uint64_t()>& set_aside) {
    if (durable_ > 0 && !appends_) {
      terminal::note("resuming after transaction " +
                     terminal::grouped(FeedPlace::count_of(durable_)));
    }
    SourceTransaction transaction;
    while (true) {
      Result<bool> more = source_.next(transaction);
      if (!more) {
        progress_.clear();
        if (!keep_going || more.error().code != Errc::Malformed) {
          // What came before the bad row is whole and stays.
          ACCRETE_DO(producer_.flush());
          return std::move(more).error();
        }
        terminal::note(more.error().detail + "; left out");
        ++bad_lines_;
        continue;
      }
      if (!more.value()) break;
      ACCRETE_DO(take(transaction));
      progress_.show(source_.progress());
    }
    ACCRETE_DO(settle());
    ACCRETE_DO(producer_.flush());
    report_faults();
    const std::uint64_t rejected = producer_.counters().rejected;
    ACCRETE_DO(producer_.close());
    progress_.clear();
    for (const std::string& doubt : source_.doubts())
      terminal::note(doubt);
    const std::uint64_t aside = skipped_ > 0 ? set_aside() : 0;
    summarise(rejected, aside - std::min(aside, rejected));
    return rejected + bad_lines_ > 0 ? Exit::BadData : Exit::Good;
  }

 private:
  Status take(const SourceTransaction& transaction) {
    transaction.list(records_);
    if (place_.count() == FeedPlace::kCountMax) {
      return Error{Errc::Exhausted, "more than " + terminal::grouped(FeedPlace::kCountMax) +
                                        " transactions; feed the rest under another --source"};
    }
    place_.step(transaction.input);
    if (!appends_ && place_.count() <= FeedPlace::count_of(durable_)) {
      const bool last = place_.count() == FeedPlace::count_of(durable_);
      if (last && FeedPlace::knows_input(durable_) && place_.position() != durable_) {
        return changed();
      }
      ++skipped_;
      skipped_rows_ += transaction.rows;
      // Rows name their layout by its hash, and this session has not declared it yet.
      for (const std::string_view record : records_) {
        if (record.front() == kLayoutTag) layouts_.emplace_back(record);
      }
      return Ok{};
    }
    records_.insert(records_.begin(), layouts_.begin(), layouts_.end());
    const std::uint64_t position = appends_ ? durable_ + transaction.position : place_.position();
    ACCRETE_DO(producer_.send(position, records_));
    layouts_.clear();
    ++sent_;
    rows_ += transaction.rows;
    if (appends_ && input_is_idle()) ACCRETE_DO(producer_.push());
    report_faults();
    return Ok{};
  }

  /// The input ended: all that is durable must have been in it.
  Status settle() {
    if (appends_ || durable_ == 0) return Ok{};
    if (place_.count() < FeedPlace::count_of(durable_)) return changed();
    if (FeedPlace::knows_input(durable_)) return Ok{};
    progress_.clear();
    terminal::note(
        "the version before this one kept no fingerprint of what it sent: whether that "
        "has changed since cannot be told, from now on it can");
    // No row, only the place: the next run compares with what stands now.
    return sent_ == 0 ? producer_.send(place_.position(), {}) : Ok{};
  }

  Error changed() const {
    return {Errc::Malformed,
            source_.name() + " is not what was sent before: it no longer begins with the " +
                terminal::grouped(FeedPlace::count_of(durable_)) +
                " transactions that the daemon holds, so rows were added to one of them, changed "
                "or taken out (or the configuration reads them in another way); nothing was sent. "
                "Rows that are new go in a file that is fed by itself; --source NAME sends "
                "everything anew"};
  }

  void report_faults() {
    for (const std::string& fault : producer_.take_faults()) {
      progress_.clear();
      terminal::note("set aside by the daemon: " + fault);
    }
  }

  void summarise(std::uint64_t rejected, std::uint64_t set_aside_before) const {
    const double seconds = std::max(progress_.seconds(), 1e-9);
    std::string line =
        terminal::grouped(rows_) + " rows in " + terminal::grouped(sent_) + " transactions, " +
        terminal::seconds_text(seconds) + ", " +
        terminal::grouped(static_cast<std::uint64_t>(static_cast<double>(rows_) / seconds)) +
        " rows/s";
    if (skipped_ > 0 && set_aside_before > 0) {
      line += "; " + terminal::grouped(skipped_ - std::min(skipped_, set_aside_before)) +
              " transactions were durable before and " + terminal::grouped(set_aside_before) +
              " set aside, see accretectl dead-letters; --source NAME sends all again";
    } else if (skipped_ > 0) {
      line += "; " + terminal::grouped(skipped_rows_) + " rows were durable before";
    }
    if (bad_lines_ > 0) line += "; " + terminal::grouped(bad_lines_) + " bad lines left out";
    if (const std::string text = source_.passed_over(); !text.empty()) {
      line += "; passed over: " + text;
    }
    if (rejected > 0) {
      line += "; " + terminal::grouped(rejected) +
              " transactions set aside, see accretectl dead-letters";
    }
    terminal::print(line + "\n");
  }

  RowSource& source_;
  stream::Producer& producer_;
  std::uint64_t durable_;  // when the feed began
  FeedPlace place_;        // of the newest transaction read
  bool appends_;           // positions go on from there instead of being compared with it
  terminal::ProgressLine progress_;
  std::vector<std::string_view> records_;
  std::vector<std::string> layouts_;  // of skipped transactions, due before the first one sent
  std::uint64_t sent_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t skipped_rows_ = 0;
  std::uint64_t bad_lines_ = 0;
};

/// Dead letters of `source` so far; 0 where the daemon cannot be asked, for it is only a remark.
std::uint64_t set_aside_of(const std::string& source, const FeedFlags& flags,
                           const Config& config) {
  constexpr std::chrono::seconds patience{2};
  const auto endpoint = endpoint_of(flags.endpoint, config, config.endpoints.control);
  std::uint64_t count = 0;
  for (std::uint64_t from = 1; endpoint;) {
    wire::ToControl question;
    question.set_request(1);
    question.mutable_dead_letters()->set_from(from);
    const auto bytes =
        stream::ask_control(endpoint.value(), question.SerializeAsString(), patience);
    wire::FromControl answer;
    if (!bytes || !answer.ParseFromString(bytes.value())) return 0;
    const wire::DeadLetters& page = answer.dead_letters();
    for (const wire::DeadLetter& letter : page.letters())
      if (letter.source() == source) ++count;
    if (page.letters().empty() || page.next() <= from) break;
    from = page.next();
  }
  return count;
}

Result<Exit> feed(RowSource& source, const FeedFlags& flags, const Config& config, bool appends) {
  stream::ProducerOptions options;
  ACCRETE_TRY(options.endpoint,
              endpoint_of(flags.endpoint, config,
                          flags.ingest.empty() ? config.endpoints.ingest : flags.ingest));
  options.name = "accretectl";
  options.source = flags.source.empty() ? source.name() : flags.source;
  options.on_away = [](const std::string& away) {
    terminal::note(away.empty() ? "the daemon is back" : "the daemon is away, waiting: " + away);
  };
  ACCRETE_TRY(const std::unique_ptr<stream::Producer> producer, stream::Producer::open(options));
  return Feed(source, *producer, appends).run(flags.keep_going, [&]() -> std::uint64_t {
    if (!flags.ingest.empty()) return 0;  // the configuration may be another daemon's
    return set_aside_of(options.source, flags, config);
  });
}

/// Open the source that `open` makes of the configuration, and feed it.
template <class Open>
Exit run_feed(const FeedFlags& flags, bool appends, const Open& open) {
  Result<Config> config = config_of(flags.endpoint);
  if (!config) return terminal::fail_config(config.error());
  Result<std::unique_ptr<RowSource>> source = open(config.value());
  if (!source) return terminal::fail(source.error());
  Result<Exit> done = feed(*source.value(), flags, config.value(), appends);
  return done ? done.value() : terminal::fail(done.error());
}

/// Files beside the tables are normal; the first few tell whether a table is misnamed.
std::string skipped_text(const std::vector<std::string>& paths) {
  constexpr std::size_t shown = 3;
  std::string text = terminal::grouped(paths.size()) + " files are of no table and left out: ";
  for (std::size_t i = 0; i < std::min(shown, paths.size()); ++i) {
    text += (i == 0 ? "" : ", ") + paths[i];
  }
  return text + (paths.size() > shown ? ", …" : "");
}

struct CsvFlags : FeedFlags {
  CsvOptions csv;
};

void add_csv(CLI::App& feed, Exit& exit) {
  CLI::App* command = feed.add_subcommand(
      "csv", "table files TABLE.csv and TABLE.csv.gz; a feed that is cut off resumes by itself");
  const auto flags = std::make_shared<CsvFlags>();
  command->add_option("paths", flags->csv.paths, "files, or folders of files")->required();
  flags->add_to(*command);
  command->get_option("--config")->required();
  command->add_flag("--as-of-order", flags->csv.as_of_order,
                    "merge the tables by event time instead of marking a snapshot");
  command->footer("Example:\n  accretectl feed csv data/ --config accreted.toml --as-of-order");
  command->callback([flags, &exit] {
    exit = run_feed(*flags, false, [&](const Config& config) {
      std::vector<std::string> skipped;
      Result<std::unique_ptr<RowSource>> source = open_csv(flags->csv, config.schema, &skipped);
      if (!skipped.empty()) terminal::note(skipped_text(skipped));
      return source;
    });
  });
}

void add_git(CLI::App& feed, Exit& exit) {
  struct GitFlags : FeedFlags {
    GitOptions git;
  };
  CLI::App* command = feed.add_subcommand(
      "git", "the history of a git repository, one commit a transaction; run again after a pull");
  const auto flags = std::make_shared<GitFlags>();
  command->add_option("repository", flags->git.repository, "folder of the repository")->required();
  command
      ->add_option("--paths-per-commit-max", flags->git.paths_per_commit_max,
                   "larger commits keep their row, not their changes")
      ->check(CLI::PositiveNumber);
  flags->add_to(*command);
  command->footer("Example:\n  accretectl feed git ~/src/project --config git.toml");
  command->callback([flags, &exit] {
    exit = run_feed(*flags, false, [&](const Config& config) -> Result<std::unique_ptr<RowSource>> {
      // Without a file the configuration says where the daemon is and nothing of its tables.
      if (!flags->endpoint.config.empty()) ACCRETE_DO(check_git_schema(config.schema));
      return open_git(flags->git);
    });
  });
}

void add_jsonl(CLI::App& feed, Exit& exit) {
  struct JsonlFlags : FeedFlags {
    std::string path;
    std::string format = "native";
  };
  CLI::App* command = feed.add_subcommand("jsonl",
                                          "change events, one JSON object a line; native ones are "
                                          "{\"table\":…,\"op\":\"insert\",\"row\":{…},\"tx\":…}");
  const auto flags = std::make_shared<JsonlFlags>();
  command
      ->add_option("file", flags->path,
                   "file, or - for standard input (which adds to what came before, unless "
                   "--source names a stream that is sent again)")
      ->required();
  flags->add_to(*command);
  command->get_option("--config")->required();
  command
      ->add_option("--format", flags->format,
                   "how the events are written; daemon/README.md says what of each is read")
      ->check(CLI::IsMember(event_formats()))
      ->capture_default_str();
  command->add_flag("--keep-going", flags->keep_going, "report and leave out bad lines");
  command->footer(
      "Examples:\n"
      "  accretectl feed jsonl rows.jsonl --config accreted.toml\n"
      "  pg_recvlogical -S slot --start -o format-version=2 -f - -d shop \\\n"
      "    | accretectl feed jsonl - --format wal2json --config accreted.toml\n"
      "  kcat -C -t server.public.orders | accretectl feed jsonl - --format debezium \\\n"
      "    --config accreted.toml");
  command->callback([flags, &exit] {
    const bool appends = flags->path == "-" && flags->source.empty();
    exit = run_feed(*flags, appends, [&](const Config& config) {
      return open_jsonl(flags->path, config.schema, *event_format(flags->format));
    });
  });
}

}  // namespace

void add_feed(CLI::App& app, Exit& exit) {
  CLI::App* feed = app.add_subcommand("feed", "send rows to the daemon, each exactly once");
  feed->require_subcommand(1);
  feed->footer("Example:\n  accretectl feed csv data/ --config accreted.toml");
  add_csv(*feed, exit);
  add_git(*feed, exit);
  add_jsonl(*feed, exit);
}

}  // namespace accrete::daemon
