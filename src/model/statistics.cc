// SPDX-License-Identifier: Apache-2.0
#include "model/statistics.h"

#include <algorithm>
#include <array>

namespace atelier::model {

using kernels::kLanes;
using kernels::TensorView;

void StatisticsTaker::Moments::merge(const Moments& more) {
  if (more.count == 0) return;
  const double delta = more.mean - mean, total = count + more.count;
  deviation += more.deviation + delta * delta * count * more.count / total;
  mean += delta * more.count / total;
  count = total;
}

// The channels of one group, side by side in each pixel.
void StatisticsTaker::add_group(const TensorView& view, int group, std::vector<Moments>& channels) {
  const int block = view.block;
  std::array<double, kLanes> mean{}, deviation{};
  const double count = static_cast<double>(view.height) * view.width;
  const auto lane = [](int l) { return static_cast<size_t>(l); };
  for (int y = 0; y < view.height; y++) {
    const float* row = view.row_at(group, y);
    for (int x = 0; x < view.width; x++)
      for (int l = 0; l < block; l++) mean[lane(l)] += static_cast<double>(row[x * block + l]);
  }
  for (double& m : mean) m /= count;
  for (int y = 0; y < view.height; y++) {
    const float* row = view.row_at(group, y);
    for (int x = 0; x < view.width; x++) {
      for (int l = 0; l < block; l++) {
        const double d = static_cast<double>(row[x * block + l]) - mean[lane(l)];
        deviation[lane(l)] += d * d;
      }
    }
  }
  for (int l = 0; l < block && group * block + l < view.channels; l++) {
    channels[lane(group * block + l)].merge({count, mean[lane(l)], deviation[lane(l)]});
  }
}

void StatisticsTaker::see(const std::string& node, const TensorView& view, int threads) {
  std::vector<Moments>& channels = nodes_[node];
  channels.resize(static_cast<size_t>(view.channels));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int group = 0; group < view.groups(); group++) add_group(view, group, channels);
}

Statistics StatisticsTaker::result() const {
  Statistics all;
  for (const auto& [node, channels] : nodes_) {
    ChannelStatistics& statistics = all[node];
    for (const Moments& m : channels) {
      statistics.mean.push_back(static_cast<float>(m.mean));
      statistics.variance.push_back(static_cast<float>(m.deviation / std::max(m.count, 1.0)));
    }
  }
  return all;
}

}  // namespace atelier::model
