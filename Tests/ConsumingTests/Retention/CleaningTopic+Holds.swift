// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

extension CleaningTopic {
  /// The holds of the consumers, as the cleaner reads them.
  func holds(_ protected: Retention.Consumers = .protected) throws -> ConsumerHolds {
    try ConsumerHolds(
      of: storage, protecting: protected, topicID: Self.topicID, beginsWithVersion1: false)
  }
}
