// Work shared among the threads of XLA's pool, and memory that calls use again.
#ifndef INSTRUX_PARALLEL_H_
#define INSTRUX_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace instrux {

// Threads that may share work, this one included.
template <typename Pool>
int64_t Threads(Pool& pool) {
  return std::max<int64_t>(1, pool.num_threads());
}

// Calls `function(i)` for every i below `count`, on this thread and those of the pool that are
// free. A thread that comes too late finds nothing left, so a busy pool cannot hold this up.
template <typename Pool>
void ParallelFor(Pool& pool, int64_t count, const std::function<void(int64_t)>& function) {
  struct State {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const int64_t helpers = std::min(Threads(pool), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) function(i);
    return;
  }
  auto state = std::make_shared<State>();
  const auto* work = &function;  // Alive until every index that was taken is done.
  auto loop = [state, work, count] {
    int64_t mine = 0;
    for (int64_t i; (i = state->next.fetch_add(1)) < count; ++mine) (*work)(i);
    if (mine == 0) return;
    std::lock_guard<std::mutex> lock(state->mutex);
    state->done += mine;
    if (state->done == count) state->all_done.notify_all();
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(loop));
  loop();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == count; });
}

// Memory of at least `bytes` from a list of what earlier calls gave back: fresh pages would cost
// as much as the work done in them.
class Scratch {
 public:
  explicit Scratch(size_t bytes) {
    std::lock_guard<std::mutex> lock(Mutex());
    auto& free = Free();
    auto best = free.end();
    for (auto it = free.begin(); it != free.end(); ++it)
      if (it->bytes >= bytes && (best == free.end() || it->bytes < best->bytes)) best = it;
    if (best != free.end()) {
      block_ = *best;
      free.erase(best);
      return;
    }
    if (!free.empty()) {  // None is large enough: one of them makes way.
      std::free(free.back().data);
      free.pop_back();
    }
    block_.bytes = (bytes + 4095) / 4096 * 4096;
    block_.data = std::aligned_alloc(4096, block_.bytes);
    if (block_.data == nullptr) throw std::bad_alloc();
  }
  ~Scratch() {
    std::lock_guard<std::mutex> lock(Mutex());
    Free().push_back(block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(block_.data);
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  static std::mutex& Mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
  }
  static std::vector<Block>& Free() {
    static auto* blocks = new std::vector<Block>;
    return *blocks;
  }
  Block block_;
};

}  // namespace instrux

#endif  // INSTRUX_PARALLEL_H_
