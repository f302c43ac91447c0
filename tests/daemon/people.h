// People with a field that some of them say, who meet mostly those of their field: rows that hang
// together, for tests of what predicts a column of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {

inline constexpr const char* kPeopleConfig = R"(
[[table]]
name = "teams"
key = "id"
columns = { place = "category" }

[[table]]
name = "people"
key = "id"
time = "at"
foreign_keys = { team = "teams" }
columns = { words = "set", age = "number", field = "category", senior = "flag" }

[[table]]
name = "meetings"
time = "at"
foreign_keys = { host = "people", guest = "people" }

[[table]]
name = "notes"
time = "at"
columns = { kind = "category", length = "number" }

[[task]]
name = "field"
predict = "PREDICT people.field FOR EACH people.id"

[[task]]
name = "senior"
predict = "PREDICT people.senior FOR EACH people.id"
debounce = "1 DAY"
)";

inline Config people_config() {
  auto config = parse_config(kPeopleConfig, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

inline Layout teams_layout() {
  return {"teams", {"id", "place"}};
}
inline Layout people_layout() {
  return {"people", {"id", "team", "words", "age", "field", "senior", "at"}};
}
inline Layout meetings_layout() {
  return {"meetings", {"host", "guest", "at"}};
}

struct People {
  std::vector<Transaction> transactions;
  std::map<std::int64_t, std::string> fields;  // of all people
  std::vector<std::int64_t> silent;            // those who do not say theirs
};

/// Fields come one after another. People meet mostly those of their field; a person's own words
/// hardly tell it, those of the people around do. A quarter never say theirs, some say it late.
inline People people(std::uint64_t seed, std::size_t fields, std::int64_t each,
                     bool requests = true) {
  Rng rng(seed, 9, Purpose::Test);
  People stream;
  Transaction first;
  first.records = {layout_record(teams_layout()), layout_record(people_layout()),
                   layout_record(meetings_layout())};
  for (std::int64_t t = 0; t < 6; ++t) {
    first.records.push_back(
        change_record(teams_layout(), Op::Insert,
                      {Value::of_integer(t), Value::of_text(t % 2 == 0 ? "north" : "south")}));
  }
  stream.transactions.push_back(std::move(first));
  std::int64_t id = 0;
  for (std::size_t field = 0; field < fields; ++field) {
    const std::string name = "field" + std::to_string(field);
    const std::int64_t begin = id;
    while (id < begin + each) {
      const TimeUs at = day(static_cast<double>(id) * 0.1);
      Transaction transaction;
      for (int i = 0; i < 8; ++i, ++id) {
        const std::string words =
            "w" + std::to_string(rng.below(3) == 0 ? 10 * field + rng.below(5) : rng.below(60)) +
            " w" + std::to_string(rng.below(60));
        const bool says = rng.below(4) != 0;
        if (!says) stream.silent.push_back(id);
        stream.fields[id] = name;
        transaction.records.push_back(change_record(
            people_layout(), Op::Insert,
            {Value::of_integer(id), Value::of_integer(static_cast<std::int64_t>(rng.below(8))),
             Value::of_text(words), Value::of_real(20 + static_cast<double>(rng.below(40))),
             says ? Value::of_text(name) : Value::null(),
             rng.below(3) == 0 ? Value::null() : Value::flag(rng.below(5) < 1 + 3 * (field % 2)),
             Value::of_time(at)}));
      }
      for (int i = 0; i < 20; ++i) {
        const std::int64_t from = rng.below(8) == 0 ? 0 : begin;
        const auto host =
            from + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(id - from)));
        const auto guest =
            begin + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(id - begin)));
        transaction.records.push_back(
            change_record(meetings_layout(), Op::Insert,
                          {Value::of_integer(host), Value::of_integer(guest), Value::of_time(at)}));
      }
      if (rng.below(3) == 0) {  // somebody leaves, labelled or not
        transaction.records.push_back(change_record(
            people_layout(), Op::Delete,
            {Value::of_integer(begin + static_cast<std::int64_t>(rng.below(4))), Value::null(),
             Value::null(), Value::null(), Value::null(), Value::null(), Value::null()},
            at));
      }
      stream.transactions.push_back(std::move(transaction));
    }
    if (!requests) continue;
    Transaction asks;
    for (const std::int64_t person : stream.silent)
      asks.records.push_back(request_record("field", person, day(static_cast<double>(id) * 0.1)));
    stream.transactions.push_back(std::move(asks));
  }
  Transaction last;  // time moves on, so that the last requests are answered
  encode_mark({MarkKind::Clock, day(static_cast<double>(id))}, last.records.emplace_back());
  stream.transactions.push_back(std::move(last));
  for (std::size_t i = 0; i < stream.transactions.size(); ++i)
    stream.transactions[i].position = i + 1;
  return stream;
}

inline std::vector<wire::Prediction> decoded(const std::vector<std::string>& payloads) {
  std::vector<wire::Prediction> all;
  for (const std::string& payload : payloads) {
    all.emplace_back();
    EXPECT_TRUE(all.back().ParseFromString(payload));
  }
  return all;
}

/// Share of the requests' answers that are right, of each candidate; "" is the mixture.
inline std::map<std::string, double> accuracies(const World& world, const People& stream) {
  std::map<std::string, std::map<std::int64_t, std::string>> said;  // the last answer counts
  std::map<std::int64_t, std::string> truth;
  for (const wire::Prediction& prediction : decoded(world.sink->payloads)) {
    if (prediction.trigger() != wire::Prediction::REQUEST) continue;
    const std::int64_t person = prediction.entity(0).integer();
    truth[person] = stream.fields.at(person);
    const auto best = std::max_element(
        prediction.classes().begin(), prediction.classes().end(),
        [](const auto& a, const auto& b) { return a.probability() < b.probability(); });
    said[""][person] = best->label();
    for (const auto& candidate : prediction.candidates())
      said[candidate.name()][person] = candidate.label();
  }
  std::map<std::string, double> right;
  for (const auto& [name, answers] : said) {
    for (const auto& [person, field] : truth) {
      const auto answer = answers.find(person);
      if (answer != answers.end() && answer->second == field) right[name] += 1;
    }
    right[name] /= static_cast<double>(truth.size());
  }
  EXPECT_GT(truth.size(), 80U);
  return right;
}

}  // namespace accrete::daemon
