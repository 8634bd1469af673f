// SPDX-License-Identifier: Apache-2.0
// Frames in tiles. Whether, and in which, follows from graph, spec and frame size alone: from what
// a plan in floats would take, whatever the precision, the instructions and the threads. So every
// machine makes the same plan.
//
// Only the part of a frame that a tile needs is converted, and what it makes is converted to coded
// samples beside the frame and copied in: no plane of floats is as large as the frame.
#include <algorithm>
#include <cstring>

#include "model/onednn_runner.h"
#include "model/resample.h"

namespace atelier::model {
namespace {

// What a frame's activations may take: more for one that is large itself.
constexpr double kBudget = int64_t{1} << 30;
constexpr double kBudgetPerPixel = 80;

double area(Size size) { return static_cast<double>(size.width) * size.height; }

// Where `x` and `y` are whole groups of chroma samples.
FrameView part_of(const FrameView& frame, const PictureRect& part) {
  FrameView view = frame;
  view.width = part.width;
  view.height = part.height;
  for (int p = 0; p < frame.format.planes(); p++) {
    const int down = frame.is_chroma(p) ? frame.format.chroma_shift_y : 0;
    const int across = frame.is_chroma(p) ? frame.format.chroma_shift_x : 0;
    FrameView::Plane& plane = view.plane[static_cast<size_t>(p)];
    plane.data += (part.y >> down) * plane.stride +
                  (part.x >> across) * ptrdiff_t{frame.format.bytes_per_sample()};
  }
  return view;
}

// All samples but alpha, which is not the network's.
void copy_samples(const FrameView& from, const FrameView& to) {
  const int planes = from.format.family == PixelFormat::Family::gray ? 1 : 3;
  for (int p = 0; p < planes; p++) {
    const FrameView::Plane& a = from.plane[static_cast<size_t>(p)];
    const FrameView::Plane& b = to.plane[static_cast<size_t>(p)];
    const size_t bytes =
        static_cast<size_t>(to.plane_width(p)) * static_cast<size_t>(to.format.bytes_per_sample());
    for (int y = 0; y < to.plane_height(p); y++) {
      std::memcpy(b.data + y * b.stride, a.data + y * a.stride, bytes);
    }
  }
}

}  // namespace

double OnednnRunner::Way::share() const { return area(geometry.fit.net) / area(planned); }

Result<const OnednnRunner::Way*> OnednnRunner::way(Size input) {
  if (way_ && way_for_ == input) return &*way_;
  Way made;
  made.geometry = TRY(geometry(input));
  made.tiles = TRY(cut(input, made.geometry));
  made.planned = made.tiles ? made.tiles->tile() : made.geometry.fit.net;
  way_ = std::move(made);
  way_for_ = input;
  return &*way_;
}

Result<FastGraph> OnednnRunner::fast_image(Size net) const {
  return find_fast(TRY(concrete(image_types(net, declared_batch()), true, false)));
}

// Nothing: as a whole.
Result<std::optional<TileGrid>> OnednnRunner::cut(Size input, const FrameGeometry& g) {
  std::optional<TileGrid> whole;
  const bool any_size = declared()[2] < 1 && declared()[3] < 1;
  if (!g.direct || !any_size || declared_batch() != 1) return whole;
  FastGraph graph = TRY(fast_image(g.fit.net));
  const auto field = receptive_field(graph, kInputMargin);
  if (!field.ok()) return whole;
  // Only its size counts. A runner in eight bits or bfloat16 will not need the weights in floats.
  const auto is_narrow = [](const PlanStep& step) { return step.algorithm == kBf16Algorithm; };
  const bool narrow = !options_.ranges.empty() || options_.precision != Precision::f32 ||
                      std::any_of(options_.plan.begin(), options_.plan.end(), is_narrow);
  WeightCache unused;
  WeightCache& weights = narrow ? unused : weights_;
  const NetPlan plan = TRY(build_plan(std::move(graph.concrete),
                                      {{}, Precision::f32, {}, Precision::f32, isa_}, weights));
  TileRequest request{g.fit.net, input, 0, static_cast<double>(options_.tile_bytes)};
  request.bytes = static_cast<double>(plan.arena_floats) * sizeof(float) +
                  static_cast<double>(plan.plain_bytes);
  if (options_.tile_bytes == 0) request.budget = kBudget + kBudgetPerPixel * area(g.fit.net);
  if (request.bytes <= request.budget) return whole;
  std::optional<TileGrid> grid = choose_tiles(*field, request);
  if (!grid) return whole;
  // A network may take another form for other sizes.
  const auto tile = fast_image(grid->tile());
  if (!tile.ok()) return whole;
  const auto same = receptive_field(*tile, kInputMargin);
  return same.ok() && *same == *field ? grid : whole;
}

Result<void> OnednnRunner::score_tiles(const FrameView& in, const Way& way, Loaded& loaded,
                                       const StepContext& context, const ColorSpec& color,
                                       FrameView& out) {
  const TileAxis &rows = way.tiles->y, &columns = way.tiles->x;
  const int factor = way.geometry.fit.factor;
  // What is not said follows from the size of the frame, not from a tile's.
  FrameView frame = in;
  frame.color = resolve_color(in.color, in.width, in.height, in.format);
  PixelFormat format = out.format;
  format.alpha = false;
  for (size_t j = 0; j < rows.starts.size(); j++) {
    for (size_t i = 0; i < columns.starts.size(); i++) {
      const int x = columns.starts[i], y = rows.starts[j];
      const PictureRect given{x, y, std::min(columns.length, in.width - x),
                              std::min(rows.length, in.height - y)};
      TRY(run_frame(part_of(frame, given), loaded, context));
      const ConstPlanesView made = TRY(made_image(loaded, context));
      const int left = columns.first_right(i), top = rows.first_right(j);
      FrameBuffer coded(columns.end_right(i) - left, rows.end_right(j) - top, format, color);
      TRY(planes_to_frame(made, spec_, color, coded.view(), {left - factor * x, top - factor * y}));
      const int first_x = columns.cuts[i], first_y = rows.cuts[j];
      const int width = columns.cuts[i + 1] - first_x, height = rows.cuts[j + 1] - first_y;
      copy_samples(part_of(coded.view(), {first_x - left, first_y - top, width, height}),
                   part_of(out, {first_x, first_y, width, height}));
    }
  }
  return {};
}

}  // namespace atelier::model
