// The time loops and the windowed attention in float32 on CPUs; models/kernels.py compiles and calls them.
//
// Rows of a batch never meet, so each thread takes some rows through all words, and the numbers do not depend on how
// many threads there are. A tile of a matrix product stays in registers until its activation is applied; the weights of
// a loop are few enough to stay in the processor's caches.
//
// Shapes: T words, B batch, H hidden (a multiple of the lanes of a vector in the time loops), 3H candidate, update and
// reset gate side by side, F features of a value, J = 2 window + 1 neighbours. All arrays are dense, last index fastest.

#include <algorithm>
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

// Comparisons are written so that NaN stays NaN: that is how a trial is found to diverge.

// Within 2 units in the last place where |x| < 87, the nearest bound beyond. After the Cephes library: 2^n e^r, n whole.
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

// The places of the activations in the `ACTIVATIONS` of models/kernels.py.
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

// Calls body(first, last) for parts of the rows, on as many threads as given.
template <class Body>
void in_parallel(int64_t num_rows, int64_t most_rows, int threads, const Body& body) {
  const int64_t tiles = (num_rows + TILE_ROWS - 1) / TILE_ROWS;
  threads = std::min<int64_t>(threads, tiles);
  const int64_t share = std::min((tiles + threads - 1) / threads * TILE_ROWS, most_rows);
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t first = 0; first < num_rows; first += share) body(first, std::min(first + share, num_rows));
}

// A tile: sums of R rows and C vectors of columns.
template <int R, int C>
struct Tile {
  Vec sum[R][C];

  // sum[i][j] = f(i, offset of the j-th vector)
  template <class F>
  void fill(const F& f) {
    for (int i = 0; i < R; i++)
      for (int j = 0; j < C; j++) sum[i][j] = f(i, j * LANES);
  }

  // Adds the product of a (R rows of `depth` numbers, which are `step` apart) and b (`depth` rows). Not inlined, so that
  // the addresses of all rows find room in registers.
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

// Calls body(tile, row, column) for tiles that cover the rows from first to last and all columns. The last vector may
// go beyond them.
template <class Body>
inline void each_tile(int64_t first, int64_t last, int64_t columns, const Body& body) {
  int64_t column = 0;
  for (; column + 2 * LANES <= columns; column += 2 * LANES) tiles_of_columns<2>(first, last, column, body);
  for (; column < columns; column += LANES) tiles_of_columns<1>(first, last, column, body);
}

// What stays in the first cache: rows that a thread takes through the words at a time; parts of a matrix product.
constexpr int64_t ROWS = 32, ROWS_OF_PRODUCT = 128, DEPTH = 128;


// The last vector of a row of `size` numbers (at least LANES of them) overlaps the one before where it has to.
inline int64_t vectors(int64_t size) { return (size + LANES - 1) / LANES; }
inline int64_t offset(int64_t number, int64_t size) { return std::min(number * LANES, size - LANES); }

// Copies a row so that what the last vector shares with the one before is there only once, else zero.
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

// The products of one row (from `copy_once`) with `count` rows of a matrix.
inline void dot(float* to, const float* once, const float* rows, int64_t count, int64_t size) {
  const int64_t last = vectors(size) - 1;
  for (int64_t j = 0; j < count; j++) {
    Vec products = load(once + last * LANES) * load(rows + j * size + size - LANES);
    for (int64_t v = 0; v < last; v++) products += load(once + v * LANES) * load(rows + j * size + v * LANES);
    to[j] = sum(products);
  }
}

// The sum of `count` rows of a matrix, each times its weight.
inline void weighted_sum(float* to, const float* weights, const float* rows, int64_t count, int64_t size) {
  for (int64_t v = 0; v < vectors(size); v++) {
    Vec total{};
    for (int64_t j = 0; j < count; j++) total += weights[j] * load(rows + j * size + offset(v, size));
    store(to + offset(v, size), total);
  }
}

// Adds a row (from `copy_once`), times a weight for each, to `count` rows of a matrix.
inline void add_weighted(float* rows, const float* weights, const float* once, int64_t count, int64_t size) {
  for (int64_t v = 0; v < vectors(size); v++) {
    const Vec row = load(once + v * LANES);
    for (int64_t j = 0; j < count; j++) {
      float* to = rows + j * size + offset(v, size);
      store(to, load(to) + weights[j] * row);
    }
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

}  // namespace

extern "C" {

int64_t lanes() { return LANES; }

// out = s(a b + bias), bias null for none: a has `rows` rows of `depth` numbers, `step` apart; b and out have `columns`
// columns, at least as many as a vector has lanes.
void product(float* out, const float* a, const float* b, const float* bias, int64_t rows, int64_t columns,
             int64_t depth, int64_t a_row, int64_t step, int activation, int threads) {
  if (rows * columns * depth < 1 << 20) threads = 1;  // waking the others would take longer
  in_parallel(rows, ROWS_OF_PRODUCT, threads, [&](int64_t first, int64_t last) {
    const int64_t width = vectors(columns) * LANES;
    std::vector<float> sums(depth > DEPTH ? (last - first) * width : 0);
    for (int64_t k = 0; k < depth; k += DEPTH) {
      each_tile(first, last, columns, [&](auto tile, int64_t row, int64_t column) {
        // Where the last vector would go beyond the columns, it takes some of those before it once more.
        const int64_t here = std::min(column, columns - LANES);
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

// delta: the gradient of what the activation is taken of, from grad, that of its output y; `size` numbers each.
void activation_backward(float* delta, const float* grad, const float* y, int64_t size, int activation, int) {
  for (int64_t v = 0; v < vectors(size); v++) {
    const int64_t here = offset(v, size);
    store(delta + here, load(grad + here) * slope(load(y + here), activation));
  }
}

// hidden_TBH: W x + b, becomes the states h_t = s(W x_t + b + h_{t-1} U'), zero where padding_TB (may be null) says so.
void elman_forward(float* hidden_TBH, const float* Ut_HH, const uint8_t* padding_TB, int64_t T, int64_t B, int64_t H,
                   int activation, int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    for (int64_t t = 0; t < T; t++) {
      float* now_BH = hidden_TBH + t * B * H;
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        float* h = now_BH + row * H + column;
        tile.fill([&](int i, int j) { return load(h + i * H + j); });
        if (t > 0) tile.add_product(now_BH - B * H + row * H, H, Ut_HH + column, H, H);
        tile.each([&](int i, int j, Vec sum) {
          const bool padding = padding_TB && padding_TB[t * B + row + i];
          store(h + i * H + j, padding ? Vec{} : activate(sum, activation));
        });
      });
    }
  });
}

// delta_TBH becomes the gradient of what the activation is taken of, from grad_TBH, that of the states.
void elman_backward(float* delta_TBH, const float* grad_TBH, const float* hidden_TBH, const float* U_HH,
                    const uint8_t* padding_TB, int64_t T, int64_t B, int64_t H, int activation, int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    for (int64_t t = T - 1; t >= 0; t--) {
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        const int64_t here = (t * B + row) * H;
        float* delta = delta_TBH + here + column;
        const float *grad = grad_TBH + here + column, *h = hidden_TBH + here + column;
        tile.fill([&](int i, int j) { return load(grad + i * H + j); });
        if (t < T - 1) tile.add_product(delta_TBH + here + B * H, H, U_HH + column, H, H);
        tile.each([&](int i, int j, Vec sum) {
          const bool padding = padding_TB && padding_TB[t * B + row + i];
          store(delta + i * H + j, padding ? Vec{} : sum * slope(load(h + i * H + j), activation));
        });
      });
    }
  });
}

// gates_TB3H: W x + b, becomes candidate, update and reset gate; states_SBH (S = T + 1): h_0, then room for the states.
void gru_forward(float* gates_TB3H, float* states_SBH, const float* Ut_candidate_HH, const float* Ut_gates_H2H,
                 const uint8_t* padding_TB, int64_t T, int64_t B, int64_t H, int activation, int gate_activation,
                 int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    std::vector<float> reset_state((last - first) * H);
    for (int64_t t = 0; t < T; t++) {
      const float* previous_BH = states_SBH + t * B * H;
      float* next_BH = states_SBH + (t + 1) * B * H;
      float* gates_B3H = gates_TB3H + t * B * 3 * H;
      each_tile(first, last, 2 * H, [&](auto tile, int64_t row, int64_t column) {
        float* gate = gates_B3H + row * 3 * H + H + column;
        tile.fill([&](int i, int j) { return load(gate + i * 3 * H + j); });
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
        float* candidate = gates_B3H + row * 3 * H + column;
        tile.fill([&](int i, int j) { return load(candidate + i * 3 * H + j); });
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

// delta_TB3H becomes the gradients of what the activations are taken of, and reset_state_TBH r * h_{t-1}, from grad_TBH,
// that of the states.
void gru_backward(float* delta_TB3H, float* reset_state_TBH, const float* grad_TBH, const float* gates_TB3H,
                  const float* states_SBH, const float* U_candidate_HH, const float* U_gates_2HH,
                  const uint8_t* padding_TB, int64_t T, int64_t B, int64_t H, int activation, int gate_activation,
                  int threads) {
  in_parallel(B, ROWS, threads, [&](int64_t first, int64_t last) {
    std::vector<float> from_later((last - first) * H);  // the gradient of the state that has come from later words
    for (int64_t t = T - 1; t >= 0; t--) {
      float* delta_B3H = delta_TB3H + t * B * 3 * H;
      const float* gates_B3H = gates_TB3H + t * B * 3 * H;
      const float* previous_BH = states_SBH + t * B * H;
      float* reset_state_BH = reset_state_TBH + t * B * H;
      for (int64_t row = first; row < last; row++) {
        const bool padding = padding_TB && padding_TB[t * B + row];
        const float* grad = grad_TBH + (t * B + row) * H;
        float* later = &from_later[(row - first) * H];
        const float *gates = gates_B3H + row * 3 * H, *previous = previous_BH + row * H;
        float* delta = delta_B3H + row * 3 * H;
        for (int64_t j = 0; j < H; j += LANES) {
          const Vec d = padding ? Vec{} : load(grad + j) + load(later + j), c = load(gates + j), z = load(gates + H + j);
          store(delta + j, d * z * slope(c, activation));
          store(delta + H + j, d * (c - load(previous + j)) * slope(z, gate_activation));
          store(later + j, d - d * z);
        }
      }
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        tile.fill([](int, int) { return Vec{}; });
        tile.add_product(delta_B3H + row * 3 * H, 3 * H, U_candidate_HH + column, H, H);
        tile.each([&](int i, int j, Vec sum) {  // the gradient of r * h_{t-1}
          const int64_t at = (row + i) * H + column + j, at_gate = (row + i) * 3 * H + 2 * H + column + j;
          const Vec r = load(gates_B3H + at_gate), previous = load(previous_BH + at);
          store(delta_B3H + at_gate, sum * previous * slope(r, gate_activation));
          store(reset_state_BH + at, r * previous);
          float* later = &from_later[(row - first + i) * H + column + j];
          store(later, load(later) + sum * r);
        });
      });
      each_tile(first, last, H, [&](auto tile, int64_t row, int64_t column) {
        float* later = &from_later[(row - first) * H + column];
        tile.fill([&](int i, int j) { return load(later + i * H + j); });
        tile.add_product(delta_B3H + row * 3 * H + H, 3 * H, U_gates_2HH + column, H, 2 * H);
        tile.each([&](int i, int j, Vec sum) { store(later + i * H + j, sum); });
      });
    }
  });
}

// Each word attends to itself and the `window` words on either side within its text: weights_BTJ (zero beyond it, and
// for padding, as is attended_BTF).
void window_forward(const float* queries_BTH, const float* keys_BTH, const float* values_BTF, const int64_t* lengths_B,
                    float* weights_BTJ, float* attended_BTF, int64_t B, int64_t T, int64_t H, int64_t F, int64_t window,
                    int threads) {
  const int64_t J = 2 * window + 1;
  std::memset(weights_BTJ, 0, B * T * J * sizeof(float));
  std::memset(attended_BTF, 0, B * T * F * sizeof(float));
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t b = 0; b < B; b++) {
    std::vector<float> query(H + LANES);
    for (int64_t t = 0; t < lengths_B[b]; t++) {
      const int64_t first = std::max<int64_t>(t - window, 0), count = std::min(t + window + 1, lengths_B[b]) - first;
      float* weights = weights_BTJ + (b * T + t) * J + first - t + window;
      copy_once(query.data(), queries_BTH + (b * T + t) * H, H);
      dot(weights, query.data(), keys_BTH + (b * T + first) * H, count, H);
      softmax(weights, count);
      weighted_sum(attended_BTF + (b * T + t) * F, weights, values_BTF + (b * T + first) * F, count, F);
    }
  }
}

// The gradients of the queries, keys and values, which start as zeros, from grad_BTF, that of what is attended to.
void window_backward(const float* grad_BTF, const float* queries_BTH, const float* keys_BTH, const float* values_BTF,
                     const float* weights_BTJ, const int64_t* lengths_B, float* grad_queries_BTH, float* grad_keys_BTH,
                     float* grad_values_BTF, int64_t B, int64_t T, int64_t H, int64_t F, int64_t window, int threads) {
  const int64_t J = 2 * window + 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t b = 0; b < B; b++) {
    std::vector<float> query(H + LANES), grad(F + LANES), grad_scores(J);
    for (int64_t t = 0; t < lengths_B[b]; t++) {
      const int64_t first = std::max<int64_t>(t - window, 0), count = std::min(t + window + 1, lengths_B[b]) - first;
      const float* weights = weights_BTJ + (b * T + t) * J + first - t + window;
      copy_once(grad.data(), grad_BTF + (b * T + t) * F, F);
      copy_once(query.data(), queries_BTH + (b * T + t) * H, H);
      dot(grad_scores.data(), grad.data(), values_BTF + (b * T + first) * F, count, F);
      float mean = 0;
      for (int64_t j = 0; j < count; j++) mean += weights[j] * grad_scores[j];
      for (int64_t j = 0; j < count; j++) grad_scores[j] = weights[j] * (grad_scores[j] - mean);
      add_weighted(grad_values_BTF + (b * T + first) * F, weights, grad.data(), count, F);
      add_weighted(grad_keys_BTH + (b * T + first) * H, grad_scores.data(), query.data(), count, H);
      weighted_sum(grad_queries_BTH + (b * T + t) * H, grad_scores.data(), keys_BTH + (b * T + first) * H, count, H);
    }
  }
}

}  // extern "C"
