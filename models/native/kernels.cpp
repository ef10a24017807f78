// The time loops and the windowed attention in float32 on CPUs; kernels.py compiles and calls them. signatures.py
// checks sizes, types and indices before every call.
//
// Rows of a batch are independent except in the gradients of the weights, so each thread processes some rows for all
// words. A tile of a matrix product stays in registers until its activation is applied; the weights of a loop fit into
// the processor's caches, and intermediates of a few words are consumed while still in cache.
//
// Shapes: T words, B batch, D inputs of a layer, H hidden (a multiple of the lanes of a vector in the time loops), 3H
// candidate, update and reset gate side by side, F features of a value, J = 2 window + 1 neighbours. All arrays are
// dense, last index fastest. Except in the functions on rows and bags, no row is shorter than a vector.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, TILE_ROWS = 8;  // 32 registers: 8 rows x 2 vectors of sums
#elif defined(__AVX__)
constexpr int LANES = 8, TILE_ROWS = 4;  // 16 registers
#else
constexpr int LANES = 4, TILE_ROWS = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec x) { *reinterpret_cast<Vec*>(p) = x; }
inline Vec all(float x) { return x - Vec{}; }

template <class To, class From>
inline To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

constexpr int64_t AHEAD = 16;  // number of table rows to prefetch

// Comparisons are written so that NaN stays NaN, by which divergence of a trial is detected.

// Accurate to 2 units in the last place; x is clamped to [-87, 87]. After the Cephes library: 2^n e^r with whole n.
inline Vec exp(Vec x) {
  x = x > 87.0f ? all(87.0f) : x;
  x = x < -87.0f ? all(-87.0f) : x;
  const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits become the nearest whole number
  const Vec n = shifted - 12582912.0f;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return (p * (r * r) + r + 1.0f) * bits<Vec>((bits<IntVec>(shifted) + 127) << 23);
}

// In the order of `ACTIVATIONS` in kernels.py.
enum Activation { NONE, RELU, TANH, SIGMOID };

inline Vec activate(Vec x, int activation) {
  switch (activation) {
    case NONE: return x;
    case RELU: return x < 0.0f ? Vec{} : x;
    case TANH: return 1.0f - 2.0f / (1.0f + exp(x + x));
    default: return 1.0f / (1.0f + exp(-x));
  }
}

// The derivative of the activation where its output is y.
inline Vec slope(Vec y, int activation) {
  switch (activation) {
    case NONE: return all(1.0f);
    case RELU: return y > 0.0f ? all(1.0f) : Vec{};
    case TANH: return 1.0f - y * y;
    default: return y - y * y;
  }
}

// The number of rows of a part such that every thread gets some.
inline int64_t rows_of_part(int64_t num_rows, int64_t most_rows, int threads) {
  const int64_t tiles = std::max<int64_t>((num_rows + TILE_ROWS - 1) / TILE_ROWS, 1);
  threads = std::min<int64_t>(threads, tiles);
  return std::min((tiles + threads - 1) / threads * TILE_ROWS, most_rows);
}

// Calls body(first, last) for parts of the rows, on this number of threads.
template <class Body>
void in_parallel(int64_t num_rows, int64_t most_rows, int threads, const Body& body) {
  const int64_t rows = rows_of_part(num_rows, most_rows, threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1 && rows < num_rows)
  for (int64_t first = 0; first < num_rows; first += rows) body(first, std::min(first + rows, num_rows));
}

// A tile: sums of R rows and C vectors of columns.
template <int R, int C>
struct Tile {
  Vec sum[R][C];

  // The first column of a tile: one that would extend beyond the last column starts earlier and overlaps the one
  // before.
  static int64_t within(int64_t column, int64_t columns) { return std::min<int64_t>(column, columns - C * LANES); }

  // sum[i][j] = f(i, offset of the j-th vector)
  template <class F>
  void fill(const F& f) {
    for (int i = 0; i < R; i++)
      for (int j = 0; j < C; j++) sum[i][j] = f(i, j * LANES);
  }

  // Adds the product of a (R rows of `depth` numbers, `step` apart) and b (`depth` rows). Not inlined, so that the
  // addresses of all rows fit into registers.
  __attribute__((noinline)) void add_product(const float* a, int64_t a_row, const float* b, int64_t b_row,
                                             int64_t depth, int64_t step = 1) {
    Vec total[R][C];
    std::memcpy(total, sum, sizeof sum);
    for (int64_t k = 0; k < depth; k++, a += step, b += b_row) {
      Vec b_k[C];
      for (int j = 0; j < C; j++) b_k[j] = load(b + j * LANES);
      for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) total[i][j] += a[i * a_row] * b_k[j];
    }
    std::memcpy(sum, total, sizeof sum);
  }

  // f(i, offset of the j-th vector, sum[i][j])
  template <class F>
  void each(const F& f) const {
    for (int i = 0; i < R; i++)
      for (int j = 0; j < C; j++) f(i, j * LANES, sum[i][j]);
  }
};

template <int C, class Body>
inline void tiles_of_columns(int64_t first, int64_t last, int64_t column, const Body& body) {
  int64_t row = first;
  for (; row + TILE_ROWS <= last; row += TILE_ROWS) body(Tile<TILE_ROWS, C>(), row, column);
  for (; row < last; row++) body(Tile<1, C>(), row, column);
}

// Calls body(tile, row, column) for tiles that cover the rows from first to last and all columns. The last tile of a
// row may extend beyond the columns.
template <class Body>
inline void each_tile(int64_t first, int64_t last, int64_t columns, const Body& body) {
  int64_t column = 0;
  for (; columns >= 2 * LANES && column + LANES < columns; column += 2 * LANES)
    tiles_of_columns<2>(first, last, column, body);
  for (; column < columns; column += LANES) tiles_of_columns<1>(first, last, column, body);
}

// Sizes that fit into the caches: rows that a thread processes at a time; rows and depth of a part of a matrix product.
constexpr int64_t ROWS = 32, ROWS_OF_PRODUCT = 128, DEPTH = 128;

// The last vector of a row of `size` numbers (at least LANES of them) overlaps the one before if necessary.
inline int64_t vectors(int64_t size) { return (size + LANES - 1) / LANES; }
inline int64_t offset(int64_t number, int64_t size) { return std::min(number * LANES, size - LANES); }

// Copies a row such that numbers shared by its last two vectors occur once, and are zero in the last but one's copy.
inline void copy_once(float* to, const float* row, int64_t size) {
  const int64_t shared = vectors(size) * LANES - size;
  std::memset(to, 0, vectors(size) * LANES * sizeof *to);
  std::memcpy(to, row, (size - size % LANES) * sizeof *to);
  if (shared) std::memcpy(to + size - size % LANES + shared, row + size - size % LANES, (size % LANES) * sizeof *to);
}

inline float sum(Vec x) {
  typedef float Four __attribute__((vector_size(16)));
  Four parts[LANES / 4];
  std::memcpy(parts, &x, sizeof parts);
  for (int half = LANES / 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) parts[i] += parts[i + half];
  return (parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3]);
}

// The dot products of one row (from `copy_once`) with `count` rows of `size` numbers, `step` apart.
inline void dot(float* to, const float* once, const float* rows, int64_t count, int64_t size, int64_t step) {
  const int64_t last = vectors(size) - 1;
  for (int64_t j = 0; j < count; j++, rows += step) {
    Vec products = load(once + last * LANES) * load(rows + size - LANES);
    for (int64_t v = 0; v < last; v++) products += load(once + v * LANES) * load(rows + v * LANES);
    to[j] = sum(products);
  }
}

// The weighted sum of `count` rows; the weights are `weight_step` apart.
inline void weighted_sum(float* to, const float* weights, int64_t weight_step, const float* rows, int64_t count,
                         int64_t size, int64_t step) {
  for (int64_t v = 0; v < vectors(size); v++) {
    Vec total{};
    for (int64_t j = 0; j < count; j++) total += weights[j * weight_step] * load(rows + j * step + offset(v, size));
    store(to + offset(v, size), total);
  }
}

inline void softmax(float* x, int64_t count) {
  float highest = x[0], total = 0;
  for (int64_t j = 1; j < count; j++) highest = x[j] > highest ? x[j] : highest;
  for (int64_t j = 0; j < count; j += LANES) {
    float* here = x + j;
    float part[LANES] = {};
    const int64_t size = std::min<int64_t>(LANES, count - j);
    std::memcpy(part, here, size * sizeof *part);
    store(part, exp(load(part) - highest));
    for (int64_t i = 0; i < size; i++) total += here[i] = part[i];
  }
  for (int64_t j = 0; j < count; j++) x[j] /= total;
}

// The gradients of weights, accumulated over words. Every part of the batch has separate sums, which `collect` adds up
// in the order of the parts, so results do not depend on the scheduling of threads.
class Sums {
 public:
  Sums(int64_t rows, int64_t columns, int64_t parts)
      : rows_(rows), columns_(columns), width_(vectors(columns) * LANES), sums_(parts * rows * width_) {}

  // Adds a' b for `words` words: a has `count` rows per word, `a_row` apart; b has the columns.
  void add(int64_t part, const float* a, int64_t a_row, int64_t a_word, const float* b, int64_t b_word, int64_t words,
           int64_t count) {
    if (a_word == count * a_row && b_word == count * columns_) count *= words, words = 1;
    each_tile(0, rows_, columns_, [&](auto tile, int64_t row, int64_t column) {
      float* sums = &sums_[(part * rows_ + row) * width_ + column];
      const float* b_here = b + tile.within(column, columns_);
      tile.fill([&](int i, int j) { return load(sums + i * width_ + j); });
      for (int64_t w = 0; w < words; w++)
        tile.add_product(a + w * a_word + row, 1, b_here + w * b_word, columns_, count, a_row);
      tile.each([&](int i, int j, Vec sum) { store(sums + i * width_ + j, sum); });
    });
  }

  // Adds the sum of `count` rows.
  void add_rows(int64_t part, const float* a, int64_t count) {
    for (int64_t column = 0; column < columns_; column += LANES) {
      float* sums = &sums_[part * width_ + column];
      Vec total = load(sums);
      for (int64_t k = 0; k < count; k++) total += load(a + k * columns_ + column);
      store(sums, total);
    }
  }

  void collect(float* out) const {
    const int64_t size = rows_ * width_;
    for (int64_t row = 0; row < rows_; row++)
      each_tile(0, 1, columns_, [&](auto tile, int64_t, int64_t column) {
        float* to = out + row * columns_ + tile.within(column, columns_);
        tile.fill([&](int, int j) {
          Vec total{};
          for (auto sums = sums_.begin() + row * width_ + column + j; sums < sums_.end(); sums += size)
            total += load(&*sums);
          return total;
        });
        tile.each([&](int, int j, Vec sum) { store(to + j, sum); });
      });
  }

 private:
  int64_t rows_, columns_, width_;
  std::vector<float> sums_;
};

// The number of words, for this number of rows, whose gradients are added to those of the weights together.
inline int64_t words_at_once(int64_t rows) { return std::max<int64_t>(DEPTH / rows, 1); }

}  // namespace

extern "C" {

// out = s(a b + bias), bias null for none: a has `rows` rows of `depth` numbers, `step` apart; b and out have `columns`
// columns, at least as many as a vector has lanes.
void product(float* out, const float* a, const float* b, const float* bias, int64_t rows, int64_t columns,
             int64_t depth, int64_t a_row, int64_t step, int activation, int threads) {
  if (rows * columns * depth < 1 << 20) threads = 1;  // waking other threads would take longer
  in_parallel(rows, ROWS_OF_PRODUCT, threads, [&](int64_t first, int64_t last) {
    const int64_t width = vectors(columns) * LANES;
    std::vector<float> sums(depth > DEPTH ? (last - first) * width : 0);
    for (int64_t k = 0; k < depth; k += DEPTH) {
      each_tile(first, last, columns, [&](auto tile, int64_t row, int64_t column) {
        const int64_t here = tile.within(column, columns);
        float* so_far = sums.data() + (row - first) * width + column;
        tile.fill([&](int i, int j) {
          return k > 0 ? load(so_far + i * width + j) : bias ? load(bias + here + j) : Vec{};
        });
        tile.add_product(a + row * a_row + k * step, a_row, b + k * columns + here, columns,
                         std::min(DEPTH, depth - k), step);
        tile.each([&](int i, int j, Vec sum) {
          if (k + DEPTH < depth) store(so_far + i * width + j, sum);
          else store(out + (row + i) * columns + here + j, activate(sum, activation));
        });
      });
    }
  });
}

// delta: the gradient of the activation's argument, from grad, the gradient of its output y; `size` numbers each.
void activation_backward(float* delta, const float* grad, const float* y, int64_t size, int activation, int) {
  if (size < LANES) {  // no vector is that short
    float part[LANES] = {}, outputs[LANES] = {};
    std::copy_n(grad, size, part);
    std::copy_n(y, size, outputs);
    store(part, load(part) * slope(load(outputs), activation));
    std::copy_n(part, size, delta);
    return;
  }
  for (int64_t v = 0; v < vectors(size); v++) {
    const int64_t here = offset(v, size);
    store(delta + here, load(grad + here) * slope(load(y + here), activation));
  }
}

// hidden_TBH: the states h_t = s(W x_t + b + h_{t-1} U'), zero where padding_TB is true; null means no padding.
void elman_forward(float* hidden_TBH, const float* inputs_TBD, const float* Wt_DH, const float* b_H,
                   const float* Ut_HH, const uint8_t* padding_TB, int64_t T, int64_t B, int64_t D, int64_t H,
                   int activation, int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    for (int64_t t = 0; t < T; t++) {
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        const int64_t here = t * B + row;
        float* hidden = hidden_TBH + here * H;
        tile.fill([&](int, int j) { return load(b_H + column + j); });
        tile.add_product(inputs_TBD + here * D, D, Wt_DH + column, H, D);
        if (t > 0) tile.add_product(hidden - B * H, H, Ut_HH + column, H, H);
        tile.each([&](int i, int j, Vec sum) {
          const bool padding = padding_TB && padding_TB[here + i];
          store(hidden + i * H + column + j, padding ? Vec{} : activate(sum, activation));
        });
      });
    }
  });
}

// The gradients of the inputs (null if not needed) and of the weights, from grad_TBH, the gradient of the states.
void elman_backward(float* grad_inputs_TBD, float* grad_W_HD, float* grad_U_HH, float* grad_b_H, const float* grad_TBH,
                    const float* hidden_TBH, const float* inputs_TBD, const float* W_HD, const float* U_HH,
                    const uint8_t* padding_TB, int64_t T, int64_t B, int64_t D, int64_t H, int activation,
                    int threads) {
  const int64_t part_rows = rows_of_part(B, ROWS, threads), parts = (B + part_rows - 1) / part_rows;
  Sums W(H, D, parts), U(H, H, parts), b(1, H, parts);
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    const int64_t part = first / part_rows, rows = last - first, words = words_at_once(rows);
    // The gradients of the activation's argument for some words, and then for the word that follows them.
    std::vector<float> delta((words + 1) * rows * H);
    for (int64_t end = T; end > 0; end -= words) {
      const int64_t start = std::max<int64_t>(end - words, 0);
      for (int64_t t = end - 1; t >= start; t--) {
        float* delta_BH = &delta[(words - end + t) * rows * H];
        each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
          const int64_t here = t * B + row;
          float* now = delta_BH + (row - first) * H;
          const float *grad = grad_TBH + here * H + column, *hidden = hidden_TBH + here * H + column;
          tile.fill([&](int i, int j) { return load(grad + i * H + j); });
          if (t < T - 1) tile.add_product(now + rows * H, H, U_HH + column, H, H);
          tile.each([&](int i, int j, Vec sum) {
            const bool padding = padding_TB && padding_TB[here + i];
            store(now + i * H + column + j, padding ? Vec{} : sum * slope(load(hidden + i * H + j), activation));
          });
        });
        if (grad_inputs_TBD) {
          each_tile(first, last, D, [&](auto tile, int64_t row, int64_t column) {
            const int64_t here = tile.within(column, D);
            float* grad_inputs = grad_inputs_TBD + (t * B + row) * D + here;
            tile.fill([](int, int) { return Vec{}; });
            tile.add_product(delta_BH + (row - first) * H, H, W_HD + here, D, H);
            tile.each([&](int i, int j, Vec sum) { store(grad_inputs + i * D + j, sum); });
          });
        }
      }
      const int64_t count = end - start, second = std::max<int64_t>(start, 1);  // no state comes before the first word
      const float *of_start = &delta[(words - count) * rows * H], *of_second = of_start + (second - start) * rows * H;
      W.add(part, of_start, H, rows * H, inputs_TBD + (start * B + first) * D, B * D, count, rows);
      U.add(part, of_second, H, rows * H, hidden_TBH + ((second - 1) * B + first) * H, B * H, end - second, rows);
      b.add_rows(part, of_start, count * rows);
      std::memcpy(&delta[words * rows * H], of_start, rows * H * sizeof(float));
    }
  });
  W.collect(grad_W_HD);
  U.collect(grad_U_HH);
  b.collect(grad_b_H);
}

// states_SBH (S = T + 1): h_0, then the states; gates_TB3H: candidate, update and reset gate, null if not needed.
void gru_forward(float* states_SBH, float* gates_TB3H, const float* inputs_TBD, const float* Wt_D3H, const float* b_3H,
                 const float* Ut_candidate_HH, const float* Ut_gates_H2H, const uint8_t* padding_TB, int64_t T,
                 int64_t B, int64_t D, int64_t H, int activation, int gate_activation, int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    std::vector<float> reset_state((last - first) * H), of_word(gates_TB3H ? 0 : (last - first) * 3 * H);
    for (int64_t t = 0; t < T; t++) {
      const float* previous_BH = states_SBH + t * B * H;
      float* next_BH = states_SBH + (t + 1) * B * H;
      float* gates_B3H = gates_TB3H ? gates_TB3H + (t * B + first) * 3 * H : of_word.data();  // from row `first` on
      each_tile(first, last, 2 * H, [&](auto tile, int64_t row, int64_t column) {
        float* gate = gates_B3H + (row - first) * 3 * H + H + column;
        tile.fill([&](int, int j) { return load(b_3H + H + column + j); });
        tile.add_product(inputs_TBD + (t * B + row) * D, D, Wt_D3H + H + column, 3 * H, D);
        tile.add_product(previous_BH + row * H, H, Ut_gates_H2H + column, 2 * H, H);
        tile.each([&](int i, int j, Vec sum) {
          const Vec value = activate(sum, gate_activation);
          store(gate + i * 3 * H + j, value);
          const int64_t reset_column = column + j - H;
          if (reset_column >= 0)
            store(&reset_state[(row - first + i) * H + reset_column],
                  value * load(previous_BH + (row + i) * H + reset_column));
        });
      });
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        float* candidate = gates_B3H + (row - first) * 3 * H + column;
        tile.fill([&](int, int j) { return load(b_3H + column + j); });
        tile.add_product(inputs_TBD + (t * B + row) * D, D, Wt_D3H + column, 3 * H, D);
        tile.add_product(&reset_state[(row - first) * H], H, Ut_candidate_HH + column, H, H);
        tile.each([&](int i, int j, Vec sum) {
          const int64_t at = (row + i) * H + column + j;
          const Vec value = activate(sum, activation), previous = load(previous_BH + at);
          const bool padding = padding_TB && padding_TB[t * B + row + i];
          store(candidate + i * 3 * H + j, value);
          const Vec update = load(candidate + i * 3 * H + H + j);
          store(next_BH + at, padding ? Vec{} : previous + update * (value - previous));
        });
      });
    }
  });
}

// The gradients of the inputs (null if not needed) and of the weights, from grad_TBH, the gradient of the states.
void gru_backward(float* grad_inputs_TBD, float* grad_W_3HD, float* grad_U_candidate_HH, float* grad_U_gates_2HH,
                  float* grad_b_3H, const float* grad_TBH, const float* gates_TB3H, const float* states_SBH,
                  const float* inputs_TBD, const float* W_3HD, const float* U_candidate_HH, const float* U_gates_2HH,
                  const uint8_t* padding_TB, int64_t T, int64_t B, int64_t D, int64_t H, int activation,
                  int gate_activation, int threads) {
  const int64_t part_rows = rows_of_part(B, ROWS, threads), parts = (B + part_rows - 1) / part_rows;
  Sums W(3 * H, D, parts), U_candidate(H, H, parts), U_gates(2 * H, H, parts), b(1, 3 * H, parts);
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    const int64_t part = first / part_rows, rows = last - first, words = words_at_once(rows);
    std::vector<float> from_later(rows * H);  // the part of the state's gradient that comes from later words
    // For some words: the gradients of the activations' arguments, and r * h_{t-1}.
    std::vector<float> delta(words * rows * 3 * H), reset_state(words * rows * H);
    for (int64_t end = T; end > 0; end -= words) {
      const int64_t start = std::max<int64_t>(end - words, 0), count = end - start;
      for (int64_t t = end - 1; t >= start; t--) {
        float *delta_B3H = &delta[(t - start) * rows * 3 * H], *reset_state_BH = &reset_state[(t - start) * rows * H];
        const float* gates_B3H = gates_TB3H + (t * B + first) * 3 * H;
        const float* previous_BH = states_SBH + (t * B + first) * H;
        for (int64_t row = 0; row < rows; row++) {
          const bool padding = padding_TB && padding_TB[t * B + first + row];
          const float* grad = grad_TBH + (t * B + first + row) * H;
          float* later = &from_later[row * H];
          const float *gates = gates_B3H + row * 3 * H, *previous = previous_BH + row * H;
          float* delta = delta_B3H + row * 3 * H;
          for (int64_t j = 0; j < H; j += LANES) {
            const Vec d = padding ? Vec{} : load(grad + j) + load(later + j);
            const Vec c = load(gates + j), z = load(gates + H + j);
            store(delta + j, d * z * slope(c, activation));
            store(delta + H + j, d * (c - load(previous + j)) * slope(z, gate_activation));
            store(later + j, d - d * z);
          }
        }
        each_tile(0, rows, H, [&](auto tile, int64_t row, int64_t column) {
          tile.fill([](int, int) { return Vec{}; });
          tile.add_product(delta_B3H + row * 3 * H, 3 * H, U_candidate_HH + column, H, H);
          tile.each([&](int i, int j, Vec sum) {  // the gradient of r * h_{t-1}
            const int64_t at = (row + i) * H + column + j, at_gate = (row + i) * 3 * H + 2 * H + column + j;
            const Vec r = load(gates_B3H + at_gate), previous = load(previous_BH + at);
            store(delta_B3H + at_gate, sum * previous * slope(r, gate_activation));
            store(reset_state_BH + at, r * previous);
            store(&from_later[at], load(&from_later[at]) + sum * r);
          });
        });
        each_tile(0, rows, H, [&](auto tile, int64_t row, int64_t column) {
          float* later = &from_later[row * H + column];
          tile.fill([&](int i, int j) { return load(later + i * H + j); });
          tile.add_product(delta_B3H + row * 3 * H + H, 3 * H, U_gates_2HH + column, H, 2 * H);
          tile.each([&](int i, int j, Vec sum) { store(later + i * H + j, sum); });
        });
        if (grad_inputs_TBD) {
          each_tile(0, rows, D, [&](auto tile, int64_t row, int64_t column) {
            const int64_t here = tile.within(column, D);
            float* grad_inputs = grad_inputs_TBD + (t * B + first + row) * D + here;
            tile.fill([](int, int) { return Vec{}; });
            tile.add_product(delta_B3H + row * 3 * H, 3 * H, W_3HD + here, D, 3 * H);
            tile.each([&](int i, int j, Vec sum) { store(grad_inputs + i * D + j, sum); });
          });
        }
      }
      const int64_t word = rows * 3 * H, state = (start * B + first) * H;
      W.add(part, delta.data(), 3 * H, word, inputs_TBD + (start * B + first) * D, B * D, count, rows);
      U_candidate.add(part, delta.data(), 3 * H, word, reset_state.data(), rows * H, count, rows);
      U_gates.add(part, delta.data() + H, 3 * H, word, states_SBH + state, B * H, count, rows);
      b.add_rows(part, delta.data(), count * rows);
    }
  });
  W.collect(grad_W_3HD);
  U_candidate.collect(grad_U_candidate_HH);
  U_gates.collect(grad_U_gates_2HH);
  b.collect(grad_b_3H);
}

// The mean over the rows of each text except row 0, and their number. The rows are scattered over a large table, so
// they are prefetched.
void bag_forward(float* means_BH, int64_t* num_B, const float* table_RH, const int64_t* rows_BS, int64_t B, int64_t S,
                 int64_t H, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t b = 0; b < B; b++) {
    const int64_t* rows = rows_BS + b * S;
    float* __restrict means = means_BH + b * H;
    std::memset(means, 0, H * sizeof(float));
    int64_t num = 0;
    for (int64_t s = 0; s < S; s++) {
      if (s + AHEAD < S) __builtin_prefetch(table_RH + rows[s + AHEAD] * H);
      if (rows[s] == 0) continue;
      const float* __restrict row = table_RH + rows[s] * H;
      for (int64_t h = 0; h < H; h++) means[h] += row[h];
      num++;
    }
    num_B[b] = num;
    for (int64_t h = 0; num > 0 && h < H; h++) means[h] /= static_cast<float>(num);
  }
}

// The gradient of the table: the distinct rows of all texts, in order of first occurrence, and their gradients.
// places_R need not be initialised: a row has been seen if rows_U contains it at its recorded place (Briggs and Torczon
// 1993).
void bag_backward(int64_t* num_rows, int64_t* rows_U, float* grad_UH, int32_t* places_R, const int64_t* rows_BS,
                  const int64_t* num_B, const float* grad_BH, int64_t B, int64_t S, int64_t H, int) {
  std::vector<float> share(H);
  int64_t U = 0;
  for (int64_t b = 0; b < B; b++) {
    for (int64_t h = 0; h < H; h++) share[h] = grad_BH[b * H + h] / static_cast<float>(num_B[b]);
    for (int64_t s = 0; s < S; s++) {
      const int64_t row = rows_BS[b * S + s], place = places_R[row];
      if (row == 0) continue;
      if (place >= 0 && place < U && rows_U[place] == row) {
        float* __restrict grad = grad_UH + place * H;
        for (int64_t h = 0; h < H; h++) grad[h] += share[h];
      } else {
        std::memcpy(grad_UH + U * H, share.data(), H * sizeof(float));
        rows_U[U] = row;
        places_R[row] = static_cast<int32_t>(U++);
      }
    }
  }
  *num_rows = U;
}

// Each word attends to itself and the `window` words on either side within its text: weights_BTJ, which are zero beyond
// the text and at padding, like attended_BTF. queries_values_BTP: the queries (H) and values (F) side by side, P = H +
// F.
void window_forward(float* weights_BTJ, float* attended_BTF, const float* queries_values_BTP, const float* keys_BTH,
                    const int64_t* lengths_B, int64_t B, int64_t T, int64_t H, int64_t F, int64_t J, int threads) {
  const int64_t window = J / 2, P = H + F;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t b = 0; b < B; b++) {
    std::vector<float> query(H + LANES);
    const float *queries = queries_values_BTP + b * T * P, *values = queries + H, *keys = keys_BTH + b * T * H;
    float *weights = weights_BTJ + b * T * J, *attended = attended_BTF + b * T * F;
    const int64_t length = lengths_B[b];
    std::memset(weights, 0, T * J * sizeof(float));
    std::memset(attended + length * F, 0, (T - length) * F * sizeof(float));
    for (int64_t t = 0; t < length; t++) {
      const int64_t first = std::max<int64_t>(t - window, 0), count = std::min(t + window + 1, length) - first;
      float* row_weights = weights + t * J + first - t + window;
      copy_once(query.data(), queries + t * P, H);
      dot(row_weights, query.data(), keys + first * H, count, H, H);
      softmax(row_weights, count);
      weighted_sum(attended + t * F, row_weights, 1, values + first * P, count, F, P);
    }
  }
}

// The gradients of the queries and values and of the keys, from grad_BTF, the gradient of the attended values.
void window_backward(float* grad_queries_values_BTP, float* grad_keys_BTH, const float* grad_BTF,
                     const float* queries_values_BTP, const float* keys_BTH, const float* weights_BTJ,
                     const int64_t* lengths_B, int64_t B, int64_t T, int64_t H, int64_t F, int64_t J, int threads) {
  const int64_t window = J / 2, P = H + F;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t b = 0; b < B; b++) {
    std::vector<float> once(F + LANES), grad_scores_TJ(T * J);
    const float *queries = queries_values_BTP + b * T * P, *values = queries + H, *keys = keys_BTH + b * T * H;
    const float *weights = weights_BTJ + b * T * J, *grad = grad_BTF + b * T * F;
    float *grad_queries = grad_queries_values_BTP + b * T * P, *grad_values = grad_queries + H;
    float* grad_keys = grad_keys_BTH + b * T * H;
    const int64_t length = lengths_B[b];
    std::memset(grad_queries + length * P, 0, (T - length) * P * sizeof(float));
    std::memset(grad_keys + length * H, 0, (T - length) * H * sizeof(float));
    for (int64_t t = 0; t < length; t++) {
      const int64_t first = std::max<int64_t>(t - window, 0), count = std::min(t + window + 1, length) - first;
      const float* row_weights = weights + t * J + first - t + window;
      float* grad_scores = &grad_scores_TJ[t * J + first - t + window];
      copy_once(once.data(), grad + t * F, F);
      dot(grad_scores, once.data(), values + first * P, count, F, P);
      float mean = 0;
      for (int64_t j = 0; j < count; j++) mean += row_weights[j] * grad_scores[j];
      for (int64_t j = 0; j < count; j++) grad_scores[j] = row_weights[j] * (grad_scores[j] - mean);
      weighted_sum(grad_queries + t * P, grad_scores, 1, keys + first * H, count, H, H);
    }
    for (int64_t t = 0; t < length; t++) {  // as a neighbour of the words from `first` on
      const int64_t first = std::max<int64_t>(t - window, 0), count = std::min(t + window + 1, length) - first;
      const int64_t place = first * J + t - first + window;  // one further left in the window of every next word
      weighted_sum(grad_keys + t * H, &grad_scores_TJ[place], J - 1, queries + first * P, count, H, P);
      weighted_sum(grad_values + t * P, weights + place, J - 1, grad + first * F, count, F, F);
    }
  }
}

// The sums of the rows of values_NE that have the same id: the R distinct ids rows_R, in order of first occurrence, and
// sums_RE; the id `skipped` is left out. places_V need not be initialised: an id has been seen if rows_R contains it at
// its recorded place (Briggs and Torczon 1993), so the cost does not grow with V.
void sum_rows(int64_t* num_rows, int64_t* rows_R, float* sums_RE, int32_t* places_V, const int64_t* ids_N,
              const float* values_NE, int64_t N, int64_t E, int64_t skipped, int) {
  int64_t R = 0;
  for (int64_t n = 0; n < N; n++) {
    if (ids_N[n] == skipped) continue;
    const int64_t id = ids_N[n], place = places_V[id];
    const float* values = values_NE + n * E;
    if (place >= 0 && place < R && rows_R[place] == id) {
      float* sums = sums_RE + place * E;
      for (int64_t e = 0; e < E; e++) sums[e] += values[e];
    } else {
      std::memcpy(sums_RE + R * E, values, E * sizeof(float));
      rows_R[R] = id;
      places_V[id] = static_cast<int32_t>(R++);
    }
  }
  *num_rows = R;
}

// A step of Adam on some rows of a matrix and of its moments, as torch.optim.Adam computes it for whole matrices.
// numbers: the constants of the step (see models/native/rows.py).
void adam_rows(float* values_VE, float* means_VE, float* squares_VE, const int64_t* rows_R, const float* gradients_RE,
               const float* numbers, int64_t R, int64_t E, int threads) {
  const float step_size = numbers[0], mean_share = numbers[1], square_keep = numbers[2], square_share = numbers[3],
              correction = numbers[4], epsilon = numbers[5];
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t r = 0; r < R; r++) {
    float *__restrict values = values_VE + rows_R[r] * E, *__restrict means = means_VE + rows_R[r] * E,
          *__restrict squares = squares_VE + rows_R[r] * E;
    const float* __restrict gradients = gradients_RE + r * E;
    for (int64_t e = 0; e < E; e++) {
      const float gradient = gradients[e];
      means[e] += (gradient - means[e]) * mean_share;
      squares[e] = squares[e] * square_keep + square_share * gradient * gradient;
      values[e] -= step_size * means[e] / (std::sqrt(squares[e]) / correction + epsilon);
    }
  }
}

// Interpolates some rows of a matrix towards those of another, each by its share.
void move_rows(float* from_VE, const float* to_VE, const int64_t* rows_R, const float* shares_R, int64_t R, int64_t E,
               int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t r = 0; r < R; r++) {
    float* __restrict from = from_VE + rows_R[r] * E;
    const float* __restrict to = to_VE + rows_R[r] * E;
    for (int64_t e = 0; e < E; e++) from[e] += (to[e] - from[e]) * shares_R[r];
  }
}

}  // extern "C"
