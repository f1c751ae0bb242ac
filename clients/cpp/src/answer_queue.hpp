/// Answers that wait to be read: as many as a reader may lag, then the sender waits for it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "ethostream/answers.hpp"
#include "ledger.hpp"

namespace ethostream {

/// A queue from one stream to its reader; guarded by the stream's mutex, which `lock` holds.
class AnswerQueue {
 public:
  /// \param ledger Says how many more answers are on their way; it lives as long as the queue.
  explicit AnswerQueue(const Ledger& ledger) : ledger_(ledger) {}

  /// Hands over answers.
  void push(std::vector<Answer> answers);

  /// Says that no more answers come.
  void close();

  /// Waits for the next answer; nothing once all are read and no more come.
  std::optional<Answer> next(std::unique_lock<std::mutex>& lock);

  /// Waits until there is room for one more frame's answers.
  ///
  /// \throws AnswersUnread None was read for 10 s.
  void wait_for_room(std::unique_lock<std::mutex>& lock);

 private:
  std::size_t unread() const { return answers_.size() + ledger_.size(); }

  const Ledger& ledger_;
  std::deque<Answer> answers_;
  std::condition_variable added_;  // an answer is there, or no more come
  std::condition_variable taken_;  // there is room, or no more come
  bool is_closed_ = false;
};

}  // namespace ethostream
