// SPDX-License-Identifier: Apache-2.0
#include "model/frame_geometry.h"

#include <algorithm>
#include <cmath>

#include "model/plan_shapes.h"

namespace atelier::model {
namespace {

constexpr int kNominalSide = 256;  // at which a network shows by how much it enlarges
constexpr int kMostSide = 1 << 16;

class Geometer {
 public:
  Geometer(const ModelSpec& spec, const std::vector<int64_t>& declared, Size input,
           const OutputType& output)
      : spec_(spec), declared_(declared), input_(input), output_(output) {}

  Result<FrameGeometry> run() {
    if (input_.width < 1 || input_.height < 1 || input_.width > kMostSide ||
        input_.height > kMostSide) {
      return make_error(Code::invalid_argument, "Frames of {}x{} cannot be scored.", input_.width,
                        input_.height);
    }
    FrameGeometry geometry;
    Size& net = geometry.fit.net;
    net = {up(input_.width), up(input_.height)};
    geometry.direct = (fixed_width() < 1 || fixed_width() == net.width) &&
                      (fixed_height() < 1 || fixed_height() == net.height);
    geometry.fit.fit = ModelSpec::Fit::tile;
    if (!geometry.direct) {
      TRY(choose_fit(geometry.fit));
    }
    const PictureShape made = TRY(picture(net));
    const int factor = TRY(factor_of(net, made, geometry.direct ? input_ : net));
    geometry.fit.factor = factor;
    geometry.channels = static_cast<int>(made.channels);
    if (spec_.luma && (made.channels != 1 || declared_[1] > 1)) {
      return make_error(Code::invalid_argument,
                        "The toml of model '{}' says channels = \"luma\", but the model does not "
                        "have one channel in and out.",
                        spec_.name);
    }
    const int64_t width = int64_t{factor} * input_.width;
    const int64_t height = int64_t{factor} * input_.height;
    if (width > kMostSide || height > kMostSide) {
      return make_error(Code::invalid_argument, "Frames of {}x{} cannot be made.", width, height);
    }
    geometry.out = {static_cast<int>(width), static_cast<int>(height)};
    return geometry;
  }

 private:
  int fixed_height() const { return fixed(2); }
  int fixed_width() const { return fixed(3); }
  int fixed(size_t axis) const {
    return static_cast<int>(std::min<int64_t>(declared_[axis], kMostSide));
  }
  int up(int64_t size) const {
    const int64_t multiple = std::max(1, spec_.size_multiple);
    return static_cast<int>(
        std::min<int64_t>((size + multiple - 1) / multiple * multiple, int64_t{2} * kMostSide));
  }

  // For a network that takes other sizes only.
  Result<void> choose_fit(FrameFit& fit) const {
    Size& net = fit.net;
    const Size wanted{fixed_width() > 0 ? fixed_width() : net.width,
                      fixed_height() > 0 ? fixed_height() : net.height};
    if (spec_.fit == ModelSpec::Fit::none) {
      return make_error(Code::invalid_argument,
                        "Model '{}' takes only frames of {}x{}, not {}x{}; add --size {}x{}, or "
                        "fit = \"letterbox\" or \"tile\" to its toml.",
                        spec_.name, wanted.width, wanted.height, input_.width, input_.height,
                        wanted.width, wanted.height);
    }
    fit.fit = spec_.fit;
    net = wanted;
    if (spec_.fit != ModelSpec::Fit::tile) {
      // The side that may be of any size keeps the shape of the picture.
      const auto scaled = [&](int side, int of, int to) {
        return up(std::max(1L, std::lround(static_cast<double>(side) * to / of)));
      };
      if (fixed_width() < 1) net.width = scaled(input_.width, input_.height, net.height);
      if (fixed_height() < 1) net.height = scaled(input_.height, input_.width, net.width);
      return {};
    }
    const int side = std::min(net.width, net.height);
    fit.halo = spec_.halo;
    fit.overlap = spec_.overlap > 0 ? spec_.overlap : spec_.halo > 0 ? 2 * spec_.halo : side / 8;
    if (fit.overlap >= side) {
      return make_error(Code::invalid_argument,
                        "Tiles of {}x{} cannot overlap by {} pixels; the toml of model '{}' should "
                        "say less.",
                        net.width, net.height, fit.overlap, spec_.name);
    }
    return {};
  }

  Result<PictureShape> picture(Size net) const {
    const TensorType made = TRY(output_(net));
    const auto& shape = made.shape;
    if (shape.size() != 4 || (shape[1] != 3 && shape[1] != 1) || shape[2] < 1 || shape[3] < 1) {
      return make_error(
          Code::invalid_argument, "Model '{}' gives {}, which is no picture.", spec_.name,
          shape.size() == 4 ? fmt::format("{} channels of {}x{}", shape[1], shape[3], shape[2])
                            : fmt::format("{} dimensions", shape.size()));
    }
    return PictureShape{shape[1], shape[2], shape[3]};
  }

  // By how much it enlarges shows at a size where a few extra rows do not matter. `least`: what the
  // output must cover, before it is enlarged.
  Result<int> factor_of(Size net, const PictureShape& made, Size least) const {
    PictureShape nominal = made;
    Size seen = net;
    if (fixed_width() < 1 && fixed_height() < 1) {
      const Size square{up(kNominalSide), up(kNominalSide)};
      if (auto shape = picture(square); shape.ok()) {
        nominal = *shape;
        seen = square;
      }
    }
    const int64_t factor = std::max<int64_t>(1, nominal.height / seen.height);
    if (factor != std::max<int64_t>(1, nominal.width / seen.width) ||
        made.height < factor * least.height || made.width < factor * least.width) {
      return make_error(Code::invalid_argument,
                        "Model '{}' makes {}x{} of {}x{}, which is neither its size nor a multiple "
                        "of it; use another --size.",
                        spec_.name, made.width, made.height, net.width, net.height);
    }
    return static_cast<int>(std::min<int64_t>(factor, kMostSide));
  }

  const ModelSpec& spec_;
  const std::vector<int64_t>& declared_;
  const Size input_;
  const OutputType& output_;
};

}  // namespace

Result<FrameGeometry> frame_geometry(const ModelSpec& spec, const std::vector<int64_t>& declared,
                                     Size input, const OutputType& output) {
  return Geometer(spec, declared, input, output).run();
}

}  // namespace atelier::model
