// Times and durations in text, against a calendar counted day by day.
#include "proto/time.h"

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete {
namespace {

TEST(Time, EveryDayOfTheCalendarInOrder) {
  // The naive calendar: one day after the other from 0001-01-01 on.
  std::int64_t day_number = -719'162;
  const int days_of_month[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  char text[48];
  for (int year = 1; year <= 9'999; ++year) {
    const bool leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
    for (int month = 1; month <= 12; ++month) {
      const int days = days_of_month[month - 1] + (leap && month == 2 ? 1 : 0);
      for (int day = 1; day <= days + 1; ++day) {
        // Outside these years the ends of months are enough.
        if ((year >= 1'890 && year <= 2'110) || day == 1 || day >= 28) {
          std::snprintf(text, sizeof text, "%04d-%02d-%02d", year, month, day);
          const auto time = try_parse_time(text);
          ASSERT_EQ(time.has_value(), day <= days) << text;
          if (time) {
            ASSERT_EQ(time->value, day_number * kDayUs) << text;
            ASSERT_EQ(format_time(*time), std::string(text) + "T00:00:00Z");
          }
        }
        if (day <= days) ++day_number;
      }
    }
  }
}

TEST(Time, ParsesEveryAcceptedForm) {
  const std::int64_t noon = 1'262'347'200 * kSecondUs;  // 2010-01-01 12:00 UTC
  const std::pair<const char*, std::int64_t> cases[] = {
      {"2010-01-01", noon - 12 * kHourUs},
      {"2010-01-01 12:00", noon},
      {"2010-01-01T12:00", noon},
      {"2010-01-01t12:00:00z", noon},
      {"2010-01-01T12:00:00Z", noon},
      {"2010-01-01 12:00:05.25", noon + 5'250'000},
      {"2010-01-01 12:00:05.000001Z", noon + 5'000'001},
      {"2010-01-01 12:00:05.123456789Z", noon + 5'123'456},
      {"2010-01-01 14:30:00+02:30", noon},
      {"2010-01-01 14:00:00+0200", noon},
      {"2010-01-01 14:00+02", noon},
      {"2010-01-01 07:00:00-05", noon},
      {"2010-01-02 01:00:00.5+13", noon + 500'000},
      {"1969-12-31T23:59:59.999999Z", -1},
      {"0001-01-01", -62'135'596'800 * kSecondUs},
      {"9999-12-31 23:59:59.999999", 253'402'300'799 * kSecondUs + 999'999},
  };
  for (const auto& [text, us] : cases) {
    const auto time = parse_time(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(time.value().value, us) << text;
  }
}

TEST(Time, RefusesEverythingElse) {
  for (const char* text : {"",
                           "2010",
                           "2010-1-1",
                           "2010-01-01 ",
                           " 2010-01-01",
                           "2010-01-01Z",
                           "2010-13-01",
                           "2010-00-01",
                           "2010-01-00",
                           "2010-02-29",
                           "1900-02-29",
                           "2010-04-31",
                           "0000-01-01",
                           "2010-01-01 24:00",
                           "2010-01-01 12:60",
                           "2010-01-01 12:00:60",
                           "2010-01-01 12",
                           "2010-01-01 12:00:00.",
                           "2010-01-01 12:00:00.1234567890",
                           "2010-01-01 12:00:00,5",
                           "2010-01-01 12:00:00+",
                           "2010-01-01 12:00:00+2",
                           "2010-01-01 12:00:00+02:",
                           "2010-01-01 12:00:00+24",
                           "2010-01-01 12:00:00+02:60",
                           "2010-01-01 12:00:00Zz",
                           "2010-01-01 12:00.5",
                           "2010/01/01",
                           "20100101",
                           "2010-01-01x12:00",
                           "10000-01-01",
                           "-010-01-01",
                           "+010-01-01",
                           "2010-01-01 1 :00"}) {
    EXPECT_FALSE(try_parse_time(text)) << text;
    const auto time = parse_time(text);
    ASSERT_FALSE(time);
    EXPECT_EQ(time.error().code, Errc::Malformed);
    EXPECT_NE(time.error().detail.find('"' + std::string(text) + '"'), std::string::npos);
  }
}

TEST(Time, FormatsWhatItParses) {
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    Rng rng(1, i, Purpose::Test);
    const TimeUs low = try_parse_time("0001-01-01").value();
    const TimeUs high = try_parse_time("9999-12-31 23:59:59.999999").value();
    std::int64_t us =
        low.value +
        static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(high.value - low.value)));
    if (rng.below(2) == 0) us -= us % kSecondUs;
    const std::string text = format_time(TimeUs(us));
    ASSERT_EQ(try_parse_time(text), TimeUs(us)) << text;
    ASSERT_EQ(text.find('.') == std::string::npos, us % kSecondUs == 0) << text;
  }
  EXPECT_EQ(format_time(TimeUs(1'250'000)), "1970-01-01T00:00:01.250000Z");
  EXPECT_EQ(format_time(kTimeMin), "-290308-12-21T19:59:05.224192Z");
  EXPECT_EQ(format_time(kTimeMax), "294247-01-10T04:00:54.775807Z");
}

TEST(Time, ShiftSaturates) {
  EXPECT_EQ(shift(TimeUs(5), -7), TimeUs(-2));
  EXPECT_EQ(shift(kTimeMin, -1), kTimeMin);
  EXPECT_EQ(shift(kTimeMax, 1), kTimeMax);
  EXPECT_EQ(shift(TimeUs(kTimeMax.value - 1), kDayUs), kTimeMax);
  EXPECT_EQ(shift(TimeUs(-5), kTimeMin.value), kTimeMin);
  EXPECT_EQ(shift(kTimeMin, kTimeMax.value), TimeUs(-1));
}

TEST(Duration, ParsesNumbersWithUnits) {
  const std::pair<const char*, std::int64_t> cases[] = {
      {"500 ms", 500'000},
      {"30 s", 30 * kSecondUs},
      {"30s", 30 * kSecondUs},
      {"5 min", 5 * kMinuteUs},
      {"1 HOUR", kHourUs},
      {"14 days", 14 * kDayUs},
      {"2 weeks", 14 * kDayUs},
      {" 1.5 h ", 90 * kMinuteUs},
      {"0 s", 0},
      {"7 us", 7},
      {"0.25 Seconds", 250'000},
      {"1 d", kDayUs},
      {"1 w", 7 * kDayUs},
      {"0.0000015 s", 1},
      {"106751991 d", 106'751'991 * kDayUs},
  };
  for (const auto& [text, us] : cases) {
    const auto parsed = parse_duration_us(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed.value(), us) << text;
  }
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text :
       {"", "5", "s", "5 m", "5 months", "-5 s", "+5 s", "1. s", ".5 s", "1.2.3 s", "1e3 s",
        "5 s s", "106751992 d", "99999999999999999999 us", "0.99999999999999999999 s"}) {
    const auto parsed = parse_duration_us(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::Malformed);
    EXPECT_NE(parsed.error().detail.find("DAYS"), std::string::npos);
  }
}

TEST(Duration, QueryUnitsHaveNoShortForms) {
  EXPECT_EQ(unit_us("SECONDS"), kSecondUs);
  EXPECT_EQ(unit_us("Minute"), kMinuteUs);
  EXPECT_EQ(unit_us("hours"), kHourUs);
  EXPECT_EQ(unit_us("DAY"), kDayUs);
  EXPECT_EQ(unit_us("WEEKS"), 7 * kDayUs);
  for (const char* unit : {"", "s", "MONTHS", "YEAR", "DAYSS", "DAY "}) {
    EXPECT_EQ(unit_us(unit), std::nullopt) << unit;
  }
}

}  // namespace
}  // namespace accrete
