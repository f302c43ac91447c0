// The replay and control handlers without sockets, then the server as any ZeroMQ client sees it.
#include <algorithm>

#include <stream.pb.h>

#include "proto/limits.h"
#include "proto/rng.h"
#include "stream/control_desk.h"
#include "stream/replay_service.h"
#include "tests/sanitized.h"
#include "tests/stream/publish_fixture.h"

namespace accrete::stream {
namespace {

// ---- replay -----------------------------------------------------------------------------------

std::vector<wire::FromReplay> ask(ReplayService& service, const std::string& frame) {
  std::vector<std::string> bytes;
  service.handle(frame, bytes);
  std::vector<wire::FromReplay> answers(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_LE(bytes[i].size(), ReplayService::message_bytes_max + 64);
    EXPECT_TRUE(answers[i].ParseFromString(bytes[i]));
  }
  return answers;
}

TEST(ReplayServiceTest, HostileFramesGetTheReasonAndNothingElse) {
  MemorySource source;
  source.append(10);
  ReplayService service(source, 100);
  wire::ToReplay frame;
  const auto with = [&](auto&& fill) {
    frame.Clear();
    frame.set_request(42);
    fill(frame);
    return frame.SerializeAsString();
  };
  using wire::ToReplay;
  struct Case {
    std::string frame;
    wire::Fault::Code code;
    std::string detail;
  };
  const std::string body = "ToReplay without a body; send one of snapshot, replay, ack and query";
  const std::vector<Case> cases{
      {"\xFF\xFF\xFF", wire::Fault::MALFORMED,
       "a frame of 3 bytes is not a ToReplay message (proto/stream.proto)"},
      {"", wire::Fault::MALFORMED, body},
      {with([](ToReplay&) {}), wire::Fault::MALFORMED, body},
      {with([](ToReplay& to) { to.mutable_replay(); }), wire::Fault::MALFORMED,
       "replay from 0: numbers begin at 1"},
      {with([](ToReplay& to) {
         to.mutable_replay()->set_from(1);
         to.mutable_replay()->set_topic(std::string(8193, 'x'));
       }),
       wire::Fault::MALFORMED, "a topic prefix has at most 8192 bytes, not 8193"},
      {with([](ToReplay& to) { to.mutable_snapshot()->set_topic(std::string(9000, 'x')); }),
       wire::Fault::MALFORMED, "a topic prefix has at most 8192 bytes, not 9000"},
      {with([](ToReplay& to) { to.mutable_query(); }), wire::Fault::MALFORMED,
       "a subscriber's name has 1 to 256 bytes, not 0"},
      {with([](ToReplay& to) { to.mutable_ack()->set_name(std::string(257, 'n')); }),
       wire::Fault::MALFORMED, "a subscriber's name has 1 to 256 bytes, not 257"},
      {with([](ToReplay& to) {
         to.mutable_ack()->set_name("n");
         to.mutable_ack()->set_epoch(9);
       }),
       wire::Fault::GAP,
       "subscriber \"n\" acknowledges epoch 9, but the daemon is in epoch 1; begin again there"},
      {with([](ToReplay& to) {
         to.mutable_ack()->set_name("n");
         to.mutable_ack()->set_epoch(1);
         to.mutable_ack()->set_seq(11);
       }),
       wire::Fault::MALFORMED, "subscriber \"n\" acknowledges 11, but the newest number is 10"},
  };
  for (const Case& hostile : cases) {
    const auto answers = ask(service, hostile.frame);
    ASSERT_EQ(answers.size(), 1u) << hostile.detail;
    EXPECT_EQ(answers[0].fault().code(), hostile.code) << hostile.detail;
    EXPECT_EQ(answers[0].fault().detail(), hostile.detail);
    EXPECT_EQ(answers[0].request(), hostile.frame.size() > 3 ? 42u : answers[0].request());
  }
  EXPECT_EQ(service.counters().faults, cases.size());
  EXPECT_EQ(service.counters().replayed, 0u);
  EXPECT_EQ(source.subscriber("n").value().first, 0u);
}

TEST(ReplayServiceTest, PagesEndsAndGone) {
  MemorySource source;
  source.append(3000);
  source.prune(100);
  ReplayService service(source, 1200);
  struct Case {
    std::uint64_t epoch, from;
    std::uint32_t max;
    std::string topic;
    std::size_t rows_max;  // what the answer may hold
    bool gone;
  };
  const std::vector<Case> cases{
      {0, 101, 0, "", 1200, false},
      {1, 101, 10, "", 10, false},
      {1, 2950, 0, "", 1200, false},
      {1, 3001, 0, "", 0, false},
      {1, 1u << 30, 0, "", 0, false},
      {0, 101, 0, "pred/late/", 1200, false},
      {0, 101, 50, "pred/none", 50, false},
      {0, 100, 0, "", 0, true},
      {2, 101, 0, "", 0, true},
      {0, 101, 0xFFFF'FFFF, "", 1200, false},
  };
  for (const Case& wanted : cases) {
    SCOPED_TRACE(std::to_string(wanted.from) + wanted.topic);
    wire::ToReplay frame;
    frame.set_request(5);
    frame.mutable_replay()->set_epoch(wanted.epoch);
    frame.mutable_replay()->set_from(wanted.from);
    frame.mutable_replay()->set_max(wanted.max);
    frame.mutable_replay()->set_topic(wanted.topic);
    const auto answers = ask(service, frame.SerializeAsString());
    std::vector<std::uint64_t> numbers;
    for (const wire::FromReplay& answer : answers) {
      EXPECT_EQ(answer.request(), 5u);
      EXPECT_LE(answer.rows().predictions_size(), 512);
      for (const wire::TopicPrediction& row : answer.rows().predictions()) {
        const auto header = PredictionHeader::decode(row.header());
        ASSERT_TRUE(header);
        EXPECT_EQ(header.value().flags, PredictionHeader::flag_replayed);
        numbers.push_back(header.value().seq.value);
      }
    }
    if (wanted.gone) {
      ASSERT_EQ(answers.size(), 1u);
      EXPECT_EQ(answers[0].gone().epoch(), 1u);
      EXPECT_EQ(answers[0].gone().oldest(), 101u);
      continue;
    }
    auto expected = source.numbers(wanted.topic, wanted.from);
    const bool cut = expected.size() > wanted.rows_max;
    if (cut) expected.resize(wanted.rows_max);
    EXPECT_EQ(numbers, expected);
    ASSERT_TRUE(answers.back().has_end());
    EXPECT_EQ(answers.back().end().next(), cut ? expected.back() + 1 : 3001);
    EXPECT_EQ(answers.back().end().oldest(), 101u);
  }
}

TEST(ReplayServiceTest, LargePredictionsAreSplitByBytes) {
  class Large : public MemorySource {
   public:
    Status read(PredictionSeq from, std::size_t max, std::string_view topic,
                std::vector<Outgoing>& out, PredictionSeq& next) override {
      Status read = MemorySource::read(from, max, topic, out, next);
      for (Outgoing& row : out)
        row.payload.assign(1u << 20, 'x');
      return read;
    }
    Result<PredictionSeq> snapshot(std::string_view,
                                   const std::function<bool(const Outgoing&)>& visit) override {
      Outgoing row;
      row.topic = "pred/t/1";
      row.payload.assign(1u << 20, 'x');
      while (visit(row))
        ++visited;
      return PredictionSeq{10};
    }
    std::size_t visited = 0;
  } source;
  source.append(10);
  ReplayService service(source, 1000);
  wire::ToReplay frame;
  frame.mutable_replay()->set_from(1);
  const auto answers = ask(service, frame.SerializeAsString());
  EXPECT_EQ(answers.size(), 5u);  // 3 + 3 + 3 + 1 and the end
  frame.mutable_snapshot()->set_topic("pred/t/");
  const auto refused = ask(service, frame.SerializeAsString());
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].fault().code(), wire::Fault::EXHAUSTED);
  EXPECT_EQ(refused[0].fault().detail(),
            "the snapshot of \"pred/t/\" is larger than 256 MiB; ask for a longer topic prefix, or "
            "replay from the oldest number");
  EXPECT_LE(source.visited, 260u);
}

// ---- control ----------------------------------------------------------------------------------

TEST(ControlDeskTest, PassesOnWhatParsesUpToItsBound) {
  std::vector<ControlQuestion> asked;
  bool busy = false;
  ControlDesk desk(
      [&](ControlQuestion question) {
        if (!busy) asked.push_back(std::move(question));
        return !busy;
      },
      2);
  wire::ToControl status;
  status.set_request(9);
  const std::string bodiless = status.SerializeAsString();
  status.mutable_status();
  const std::string good = status.SerializeAsString();
  const auto refused = [&](std::string_view frame) {
    const auto bytes = desk.handle("peer", frame);
    wire::FromControl answer;
    EXPECT_TRUE(bytes && answer.ParseFromString(*bytes));
    return std::to_string(answer.request()) + " " + wire::Fault::Code_Name(answer.fault().code()) +
           " " + answer.fault().detail();
  };
  EXPECT_EQ(refused("\xFF"),
            "0 MALFORMED a frame of 1 bytes is not a ToControl message (proto/stream.proto)");
  EXPECT_EQ(refused(bodiless),
            "9 MALFORMED ToControl without a body; send one of status, predict, explain, "
            "dead_letters, checkpoint, drain and reload");
  busy = true;
  EXPECT_EQ(refused(good),
            "9 EXHAUSTED the daemon is too busy to take a question; ask again later");
  busy = false;
  EXPECT_EQ(desk.handle("a", good), std::nullopt);
  EXPECT_EQ(desk.handle("b", good), std::nullopt);
  EXPECT_EQ(refused(good),
            "9 EXHAUSTED 2 questions wait for an answer already (control_open_max); ask again "
            "later");
  desk.answered("stranger");
  EXPECT_EQ(desk.open(), 2u);
  desk.answered("a");
  desk.answered("a");
  EXPECT_EQ(desk.open(), 1u);
  EXPECT_EQ(desk.handle("b", good), std::nullopt);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[1].peer, "b");
  EXPECT_EQ(asked[1].bytes, good);
  EXPECT_EQ(desk.questions(), 3u);
  EXPECT_EQ(desk.faults(), 4u);
}

TEST(ControlTest, AnswersFaultsAndSilence) {
  MemorySource source;
  Daemon daemon(source);
  wire::ToControl question;
  question.set_request(77);
  question.mutable_status();
  std::thread answerer([&] {
    for (int i = 0; i < 2; ++i) {
      const auto asked = daemon.questions.receive();
      wire::ToControl parsed;
      ASSERT_TRUE(asked && parsed.ParseFromString(asked->bytes));
      wire::FromControl answer;
      answer.set_request(parsed.request());
      if (i == 0) {
        answer.set_json("{\"rows\":5}");
      } else {
        answer.mutable_fault()->set_code(wire::Fault::NOT_FOUND);
        answer.mutable_fault()->set_detail("no task \"chrun\"; did you mean \"churn\"?");
      }
      daemon.answer({asked->peer, answer.SerializeAsString()});
    }
  });
  const auto wait = std::chrono::seconds(30);
  const auto status = ask_control(daemon.control(), question.SerializeAsString(), wait);
  ASSERT_TRUE(status) << status.error().detail;
  wire::FromControl answer;
  ASSERT_TRUE(answer.ParseFromString(status.value()));
  EXPECT_EQ(answer.json(), "{\"rows\":5}");
  const auto unknown = ask_control(daemon.control(), question.SerializeAsString(), wait);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::NotFound);
  EXPECT_EQ(unknown.error().detail, "no task \"chrun\"; did you mean \"churn\"?");
  answerer.join();

  // Nobody answers from here on: three questions fit the mailbox, and four may be open.
  for (int i = 0; i < 3; ++i) {
    const auto silent =
        ask_control(daemon.control(), question.SerializeAsString(), std::chrono::milliseconds(100));
    ASSERT_FALSE(silent);
    EXPECT_EQ(silent.error().code, Errc::Unavailable);
    EXPECT_EQ(silent.error().detail,
              "no answer from " + daemon.control().address + " in 100 ms; is accreted running?");
  }
  const auto full = ask_control(daemon.control(), question.SerializeAsString(), wait);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::Exhausted);
  EXPECT_EQ(ask_control(daemon.control(), "\xFF", wait).error().code, Errc::Malformed);
  // Answers to peers that are gone are nobody's trouble.
  while (const auto asked = daemon.questions.try_receive())
    daemon.answer({asked->peer, "late"});
  // A question that comes through says that the server looked at what lay there before.
  EXPECT_FALSE(
      ask_control(daemon.control(), question.SerializeAsString(), std::chrono::milliseconds(100)));
  ASSERT_TRUE(daemon.questions.receive());
  daemon.stop();
  EXPECT_EQ(daemon.counters.questions, 6u);
  EXPECT_EQ(daemon.counters.faults, 1u);
  EXPECT_EQ(daemon.counters.dropped, 3u);
}

// ---- as any ZeroMQ client sees it -------------------------------------------------------------

std::vector<std::string> receive(Socket& socket) {
  std::vector<Frame> frames;
  std::array<Waiting, 1> items{};
  items[0].socket = &socket;
  for (const Instant begin = now(); now() - begin < std::chrono::seconds(30);) {
    const auto received = socket.receive(frames);
    if (received && received.value()) break;
    EXPECT_TRUE(wait(items, std::chrono::seconds(1)));
  }
  std::vector<std::string> message;
  message.reserve(frames.size());
  for (const Frame& frame : frames)
    message.emplace_back(frame.view());
  return message;
}

TEST(PublishServerTest, JsonAndBinaryTopics) {
  MemorySource source;
  Daemon daemon(source);
  auto created = Socket::create(daemon.context(), SocketKind::Sub, daemon.predictions());
  ASSERT_TRUE(created);
  Socket& socket = created.value();
  for (const auto topic : {"welcome/", "json/pred/late/", "pred/late/"}) {
    ASSERT_TRUE(socket.subscribe(topic));
  }
  ASSERT_TRUE(socket.connect());
  EXPECT_EQ(receive(socket), std::vector<std::string>{"welcome/"});
  // One at a time until the subscriptions have arrived, which nothing tells a plain subscriber.
  std::vector<std::vector<std::string>> got;
  ASSERT_TRUE(socket.subscribe("progress/"));
  while (receive(socket).front() != "progress/") {
  }
  ASSERT_TRUE(socket.unsubscribe("progress/"));
  daemon.publish(20);
  const auto wanted = source.numbers("pred/late/");
  for (const std::uint64_t seq : wanted) {
    std::vector<Outgoing> rows;
    PredictionSeq next;
    ASSERT_TRUE(source.read(PredictionSeq{seq}, 1, "", rows, next));
    auto binary = receive(socket);
    while (binary.front() == "progress/")
      binary = receive(socket);
    ASSERT_EQ(binary.size(), 4u);
    EXPECT_EQ(binary[0], rows[0].topic);
    const auto header = PredictionHeader::decode(binary[1]);
    ASSERT_TRUE(header);
    EXPECT_EQ(header.value().seq.value, seq);
    EXPECT_EQ(binary[2], rows[0].payload);
    EXPECT_EQ(binary[3], "") << "nobody asked for links";
    auto json = receive(socket);
    while (json.front() == "progress/")
      json = receive(socket);
    ASSERT_EQ(json.size(), 3u);
    EXPECT_EQ(json[0], "json/" + rows[0].topic);
    EXPECT_EQ(json[1], binary[1]);
    EXPECT_EQ(json[2], prediction_json(rows[0].payload).value());
  }
  daemon.stop();
  EXPECT_EQ(daemon.counters.published, 20u);
  EXPECT_EQ(daemon.counters.json_published, 20u);
}

TEST(PublishServerTest, NoJsonIsMadeWhenNobodyAsks) {
  MemorySource source;
  Daemon daemon(source);
  const auto all = open_subscriber(daemon.subscriber(""));
  daemon.publish(100);
  EXPECT_EQ(take(*all, 100).size(), 100u);
  daemon.stop();
  EXPECT_EQ(daemon.counters.json_published, 0u);
}

TEST(PublishServerTest, RandomBytesOnTheReplaySocketDisturbNobody) {
  MemorySource source;
  Daemon daemon(source);
  daemon.publish(2000);
  auto connected = Socket::connect(daemon.context(), SocketKind::Dealer, daemon.replay());
  ASSERT_TRUE(connected);
  Rng rng(3, 0, Purpose::Test);
  SubscriberOptions options = daemon.subscriber();
  options.from = 1;
  const auto subscriber = open_subscriber(options);
  for (int i = 0; i < 200; ++i) {
    std::string noise(1 + rng.below(40), '\0');
    for (char& byte : noise)
      byte = static_cast<char>(rng.below(256));
    noise[0] = '\xFF';
    if (!connected.value().send(noise)) break;
    wire::FromReplay answer;
    const auto frames = receive(connected.value());
    ASSERT_EQ(frames.size(), 1u);
    ASSERT_TRUE(answer.ParseFromString(frames[0]));
    EXPECT_EQ(answer.fault().code(), wire::Fault::MALFORMED);
  }
  EXPECT_EQ(take(*subscriber, 2000).size(), 2000u);
  daemon.stop();
  EXPECT_EQ(daemon.counters.faults, 200u);
}

/// Who reads too slowly may lose answers, but never the middle of one: an end says that all before
/// it has come.
TEST(PublishServerTest, AnAnswerThatEndsIsWhole) {
  constexpr std::uint64_t rows = 8000;
  constexpr std::uint64_t questions = 200;
  MemorySource source;
  Daemon daemon(source, 1000, 4, 200'000);  // many an end fits where rows do not
  daemon.publish(rows);
  daemon.flush();
  EndpointOptions narrow = daemon.replay();
  narrow.high_water_mark = 1;
  auto connected = Socket::connect(daemon.context(), SocketKind::Dealer, narrow);
  ASSERT_TRUE(connected);
  wire::ToReplay question;
  question.mutable_replay()->set_from(1);
  std::uint64_t asked = 0;
  const Instant begin = now();
  while (asked < questions && now() - begin < std::chrono::seconds(20)) {
    question.set_request(asked + 1);
    if (connected.value().send(question.SerializeAsString())) {
      ++asked;
    } else {
      std::this_thread::yield();
    }
  }
  ASSERT_EQ(asked, questions);
  std::map<std::uint64_t, std::uint64_t> taken;
  std::uint64_t whole = 0;
  std::vector<Frame> frames;
  wire::FromReplay answer;
  for (Waiting item{&connected.value()};;) {
    ASSERT_TRUE(wait({&item, 1}, std::chrono::milliseconds(2000)));
    if (!item.readable) break;
    ASSERT_TRUE(connected.value().receive(frames));
    ASSERT_TRUE(answer.ParseFromString(std::string(frames.back().view())));
    taken[answer.request()] += static_cast<std::uint64_t>(answer.rows().predictions_size());
    if (!answer.has_end()) continue;
    EXPECT_EQ(taken[answer.request()], rows) << "question " << answer.request();
    ++whole;
  }
  EXPECT_GT(whole, 0u);
  // Where the daemon is slowed more than who reads, by a sanitizer, nothing may have to be dropped.
  if (!kSanitized) {
    EXPECT_LT(whole, questions) << "nothing was dropped: the test shows nothing";
  }
}

/// Someone asks for everything again and again and never reads: others are served as before.
TEST(PublishServerTest, APeerThatDoesNotReadHoldsUpNobody) {
  MemorySource source;
  Daemon daemon(source);
  daemon.publish(30'000);
  EndpointOptions narrow = daemon.replay();
  narrow.high_water_mark = 1;
  auto connected = Socket::connect(daemon.context(), SocketKind::Dealer, narrow);
  ASSERT_TRUE(connected);
  wire::ToReplay greedy;
  greedy.mutable_replay()->set_from(1);
  for (int i = 0; i < 300; ++i) {
    if (!connected.value().send(greedy.SerializeAsString())) break;
  }
  SubscriberOptions options = daemon.subscriber();
  options.from = 1;
  const auto subscriber = open_subscriber(options);
  EXPECT_EQ(take(*subscriber, 30'000).size(), 30'000u);
}

}  // namespace
}  // namespace accrete::stream
