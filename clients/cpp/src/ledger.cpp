#include "ledger.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace ethostream {

namespace {

std::int64_t since_ns(std::chrono::steady_clock::time_point began) {
  const auto passed = std::chrono::steady_clock::now() - began;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count();
}

/// What is owed for a frame that the server will not answer any more, or never saw.
BehaviorResult without_answer(const BehaviorBundle& bundle, std::uint64_t frame_index,
                              std::int64_t capture_time_ns, bool is_sent) {
  BehaviorResult result;
  result.frame_index = frame_index;
  result.capture_time_ns = capture_time_ns;
  result.bundle = bundle.name;
  result.version = bundle.version;
  result.behaviors = bundle.behaviors;
  result.status = is_sent ? BehaviorStatus::error : BehaviorStatus::no_frame;
  return result;
}

}  // namespace

void Ledger::set_behavior_bundles(const std::vector<BehaviorBundle>& bundles) {
  accounts_.clear();
  for (const auto& bundle : bundles) {
    accounts_.push_back({bundle, {}});
  }
}

std::vector<std::string> Ledger::behaviors_of(const std::string& name,
                                              std::uint32_t version) const {
  for (const auto& [bundle, owed] : accounts_) {
    if (bundle.name == name && bundle.version == version) {
      return bundle.behaviors;
    }
  }
  return {};
}

void Ledger::send(std::uint64_t frame_index, std::int64_t capture_time_ns) {
  take(frame_index, capture_time_ns, true);
  ++sent_in_flight_;
}

std::vector<Answer> Ledger::skip(std::uint64_t frame_index, std::int64_t capture_time_ns) {
  FrameOutcome outcome;
  outcome.frame_index = frame_index;
  outcome.capture_time_ns = capture_time_ns;
  outcome.kind = OutcomeKind::skipped;
  outcome.reason = "no_credit";
  take(frame_index, capture_time_ns, false).outcome = std::move(outcome);
  return deliver();
}

std::int64_t Ledger::round_trip_ns(std::uint64_t frame_index) const {
  const Entry* entry = find(frame_index);
  return entry != nullptr ? since_ns(entry->sent) : 0;
}

std::vector<Answer> Ledger::settle(FrameOutcome outcome) {
  Entry* entry = find(outcome.frame_index);
  if (entry == nullptr || entry->outcome) {
    ++counts_.unexpected;
    return {};
  }
  entry->outcome = std::move(outcome);
  --sent_in_flight_;
  return deliver();
}

std::vector<Answer> Ledger::settle_behavior(BehaviorResult result) {
  for (auto& [bundle, owed] : accounts_) {
    if (bundle.name != result.bundle || bundle.version != result.version) {
      continue;
    }
    const auto place = std::find_if(owed.begin(), owed.end(), [&](const Owed& one) {
      return one.is_sent && one.frame_index == result.frame_index;
    });
    if (place == owed.end()) {
      break;
    }
    std::vector<Answer> answers;
    for (auto passed = owed.begin(); passed != place; ++passed) {
      answers.emplace_back(
          without_answer(bundle, passed->frame_index, passed->capture_time_ns, passed->is_sent));
    }
    owed.erase(owed.begin(), std::next(place));
    answers.emplace_back(std::move(result));
    return answers;
  }
  ++counts_.unexpected;
  return {};
}

std::vector<Answer> Ledger::close(const std::string& message) {
  for (auto& entry : entries_) {
    if (!entry.outcome) {
      FrameOutcome outcome;
      outcome.frame_index = entry.frame_index;
      outcome.capture_time_ns = entry.capture_time_ns;
      outcome.kind = OutcomeKind::error;
      outcome.reason = "lost";
      outcome.message = message;
      outcome.round_trip_ns = since_ns(entry.sent);
      entry.outcome = std::move(outcome);
    }
  }
  sent_in_flight_ = 0;
  std::vector<Answer> answers = deliver();
  for (auto& [bundle, owed] : accounts_) {
    for (const auto& one : owed) {
      answers.emplace_back(
          without_answer(bundle, one.frame_index, one.capture_time_ns, one.is_sent));
    }
    owed.clear();
  }
  return answers;
}

Ledger::Entry& Ledger::take(std::uint64_t frame_index, std::int64_t capture_time_ns, bool is_sent) {
  ++counts_.accepted;
  for (auto& account : accounts_) {
    account.owed.push_back({frame_index, capture_time_ns, is_sent});
  }
  const auto now = std::chrono::steady_clock::now();
  return entries_.emplace_back(Entry{frame_index, capture_time_ns, now, std::nullopt});
}

Ledger::Entry* Ledger::find(std::uint64_t frame_index) {
  return const_cast<Entry*>(std::as_const(*this).find(frame_index));
}

const Ledger::Entry* Ledger::find(std::uint64_t frame_index) const {
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), frame_index,
      [](const Entry& entry, std::uint64_t index) { return entry.frame_index < index; });
  return place != entries_.end() && place->frame_index == frame_index ? &*place : nullptr;
}

std::vector<Answer> Ledger::deliver() {
  std::vector<Answer> answers;
  while (!entries_.empty() && entries_.front().outcome) {
    count(*entries_.front().outcome);
    answers.emplace_back(std::move(*entries_.front().outcome));
    entries_.pop_front();
  }
  return answers;
}

void Ledger::count(const FrameOutcome& outcome) {
  switch (outcome.kind) {
    case OutcomeKind::result:
      ++counts_.results;
      break;
    case OutcomeKind::skipped:
      ++counts_.skipped;
      break;
    case OutcomeKind::error:
      ++(outcome.reason == "lost" ? counts_.lost : counts_.errors);
  }
}

}  // namespace ethostream
