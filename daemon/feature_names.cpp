// Names for explain.
#include "daemon/feature_names.h"

#include <cmath>
#include <cstdio>

#include "proto/time.h"

namespace accrete::daemon {

std::string life_name(double life_us) {
  if (std::isinf(life_us)) return "ever";
  char text[48];
  const double days = life_us / static_cast<double>(kDayUs);
  static_cast<void>(std::snprintf(text, sizeof text, "half-life %g days", days));
  return text;
}

void name_header(const std::string& what, bool ordered, const std::vector<std::string>& lives,
                 const std::vector<std::string>& links, std::vector<std::string>& names) {
  names.push_back("log count of " + what + ", ever");
  for (const std::string& life : lives) {
    std::string name = "log count of " + what;
    names.push_back(name.append(", ").append(life).append(life == "ever" ? " again" : ""));
  }
  if (!ordered) return;
  names.push_back("log age of newest " + what);
  names.push_back("log age of oldest " + what);
  names.push_back("log mean gap of " + what);
  for (const std::string& link : links) {
    std::string different = "different ";
    names.push_back(different.append(link).append(" of newest 8 ").append(what));
    std::string share = "share of newest 8 ";
    names.push_back(share.append(what).append(" with the newest ").append(link));
  }
}

void name_column(const std::string& what, bool ordered, bool window,
                 const std::vector<std::string>& lives, std::vector<std::string>& names) {
  if (ordered) {
    names.push_back(what + ", newest");
    names.push_back(what + ", mean, decay .9");
    names.push_back(what + ", deviation, decay .9");
  }
  if (ordered && window) {
    names.push_back(what + ", mean of newest 3");
    names.push_back(what + ", least of newest 8");
    names.push_back(what + ", greatest of newest 8");
    names.push_back(what + ", trend over newest 8");
  }
  for (const std::string& life : lives)
    names.push_back(std::string(what).append(", mean, ").append(life));
}

}  // namespace accrete::daemon
