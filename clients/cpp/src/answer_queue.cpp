#include "answer_queue.hpp"

#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "ethostream/errors.hpp"

namespace ethostream {

namespace {

// Answers of a few hundred bytes each: some MB, minutes at 100 Hz.
constexpr std::size_t UNREAD_LIMIT = 16'384;
// A slow reader is waited for; one that stands still this long is an error.
constexpr std::chrono::seconds UNREAD_TIME{10};

}  // namespace

void AnswerQueue::push(std::vector<Answer> answers) {
  if (!answers.empty()) {
    std::move(answers.begin(), answers.end(), std::back_inserter(answers_));
    added_.notify_all();
  }
}

void AnswerQueue::close() {
  is_closed_ = true;
  added_.notify_all();
  taken_.notify_all();
}

std::optional<Answer> AnswerQueue::next(std::unique_lock<std::mutex>& lock) {
  added_.wait(lock, [&] { return !answers_.empty() || is_closed_; });
  if (answers_.empty()) {
    return std::nullopt;
  }
  std::optional<Answer> answer = std::move(answers_.front());
  answers_.pop_front();
  if (unread() == UNREAD_LIMIT - 1) {
    taken_.notify_all();
  }
  return answer;
}

void AnswerQueue::wait_for_room(std::unique_lock<std::mutex>& lock) {
  auto since = std::chrono::steady_clock::now();
  for (std::size_t last = unread(), now_unread = last; now_unread >= UNREAD_LIMIT && !is_closed_;
       now_unread = unread()) {
    const auto now = std::chrono::steady_clock::now();
    if (now_unread < last) {
      last = now_unread;
      since = now;
    }
    if (now - since >= UNREAD_TIME) {
      throw AnswersUnread(std::to_string(now_unread) + " answers wait and none was read for " +
                          std::to_string(UNREAD_TIME.count()) +
                          " s; read them with next() or listen() while sending");
    }
    taken_.wait_until(lock, since + UNREAD_TIME);
  }
}

}  // namespace ethostream
