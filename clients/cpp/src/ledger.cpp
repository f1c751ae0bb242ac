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

void Ledger::send_chunk(std::uint64_t chunk_index, std::int64_t capture_time_ns) {
  chunks_.push_back({chunk_index, capture_time_ns, std::chrono::steady_clock::now()});
  ++counts_.chunks;
}

std::vector<Answer> Ledger::acknowledge(ChunkAcknowledgement answer) {
  const auto chunk = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& one) {
    return one.chunk_index == answer.chunk_index;
  });
  if (chunk == chunks_.end()) {
    ++counts_.unexpected;
    return {};
  }
  answer.capture_time_ns = chunk->capture_time_ns;
  newest_sent_ = chunk->sent;
  chunks_.erase(chunk);
  ++counts_.chunks_acknowledged;
  announced_ += answer.frames_decoded;
  turn_up(announced_, answer.capture_time_ns, newest_sent_);
  return {std::move(answer)};
}

std::uint64_t Ledger::number(std::uint64_t frame_index, std::int64_t capture_time_ns) {
  if (counts_.chunks == 0) {
    return frame_index;
  }
  const std::uint64_t number = first_ + frame_index;
  turn_up(number + 1, capture_time_ns, chunks_.empty() ? newest_sent_ : chunks_.front().sent);
  return number;
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
  for (const auto& chunk : chunks_) {
    ChunkAcknowledgement answer;
    answer.chunk_index = chunk.chunk_index;
    answer.capture_time_ns = chunk.capture_time_ns;
    answer.message = message;
    answer.is_lost = true;
    answers.emplace_back(std::move(answer));
  }
  counts_.chunks_lost += chunks_.size();
  chunks_.clear();
  first_ = announced_ = next_;
  return answers;
}

void Ledger::turn_up(std::uint64_t end, std::int64_t capture_time_ns, Time sent) {
  for (; next_ < end; ++next_) {
    take(next_, capture_time_ns, true, sent);
    ++sent_in_flight_;
  }
}

Ledger::Entry& Ledger::take(std::uint64_t frame_index, std::int64_t capture_time_ns, bool is_sent,
                            Time sent) {
  ++counts_.accepted;
  for (auto& account : accounts_) {
    account.owed.push_back({frame_index, capture_time_ns, is_sent});
  }
  return entries_.emplace_back(Entry{frame_index, capture_time_ns, sent, std::nullopt});
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
