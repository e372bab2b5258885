// Work shared among the threads of XLA's pool, and memory that calls use again.
#ifndef INSTRUX_PARALLEL_H_
#define INSTRUX_PARALLEL_H_

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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

// Pieces of work of one call, which threads take one after another.
class Job {
 public:
  Job(int64_t count, const std::function<void(int64_t)>& function)
      : count_(count), function_(&function) {}

  // Does what is left. A thread that comes too late finds nothing, and touches no function.
  void Work() {
    int64_t mine = 0;
    for (int64_t i; (i = next_.fetch_add(1)) < count_; ++mine) (*function_)(i);
    if (mine == 0 || done_.fetch_add(mine) + mine < count_) return;
    std::lock_guard<std::mutex> lock(mutex_);
    all_done_.notify_all();
  }

  // Returns when all is done.
  void Wait() {
    for (int i = 0; i < kLooksAtWork && done_.load() < count_; ++i) _mm_pause();
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [&] { return done_.load() == count_; });
  }

 private:
  static constexpr int kLooksAtWork = 200;
  const int64_t count_;
  const std::function<void(int64_t)>* function_;  // Alive until all is done.
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

// Threads of the pool that have just helped, and look for more to do before they go back: to wake
// one takes longer than many a product of a step of decoding.
class Helpers {
 public:
  // Hands `job` to a thread that looks for work; false if there is none.
  static bool Take(const std::shared_ptr<Job>& job) {
    Helpers& helpers = Get();
    if (!helpers.Claim()) return false;
    std::lock_guard<std::mutex> lock(helpers.mutex_);
    helpers.jobs_.push_back(job);
    helpers.waiting_.store(helpers.jobs_.size());
    return true;
  }

  // Looks for jobs, and does them, until none has come for a while.
  static void Look() {
    Helpers& helpers = Get();
    helpers.idle_.fetch_add(1);
    auto last = std::chrono::steady_clock::now();
    while (true) {
      if (auto job = helpers.Next()) {
        job->Work();
        job.reset();
        helpers.idle_.fetch_add(1);
        last = std::chrono::steady_clock::now();
      } else if (std::chrono::steady_clock::now() - last > kPatience && helpers.Claim()) {
        return;  // Had the claim failed, a job would be on its way.
      }
      _mm_pause();
    }
  }

 private:
  static constexpr std::chrono::microseconds kPatience{20};
  static Helpers& Get() {
    static auto* helpers = new Helpers;
    return *helpers;
  }
  // Takes one of those who look out of the count.
  bool Claim() {
    int64_t idle = idle_.load();
    while (idle > 0)
      if (idle_.compare_exchange_weak(idle, idle - 1)) return true;
    return false;
  }
  std::shared_ptr<Job> Next() {
    if (waiting_.load() == 0) return nullptr;
    std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.empty()) return nullptr;
    auto job = std::move(jobs_.back());
    jobs_.pop_back();
    waiting_.store(jobs_.size());
    return job;
  }
  std::atomic<int64_t> idle_{0};
  std::atomic<size_t> waiting_{0};
  std::mutex mutex_;
  std::vector<std::shared_ptr<Job>> jobs_;
};

// Calls `function(i)` for every i below `count`, on this thread and those of the pool that are
// free. A busy pool cannot hold this up.
template <typename Pool>
void ParallelFor(Pool& pool, int64_t count, const std::function<void(int64_t)>& function) {
  const int64_t helpers = std::min(Threads(pool), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) function(i);
    return;
  }
  const auto job = std::make_shared<Job>(count, function);
  for (int64_t i = 0; i < helpers; ++i) {
    if (Helpers::Take(job)) continue;
    pool.Schedule(std::function<void()>([job] {
      job->Work();
      Helpers::Look();
    }));
  }
  job->Work();
  job->Wait();
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
