// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedWriter {
  /// Appends to the shard of a key if there is room below the shard's cap. Returns nil, and appends
  /// nothing, if the shard is at its cap.
  ///
  /// Otherwise it behaves like `append(_:key:)`. It is for a caller that has work to do before it
  /// waits for room.
  package func appendIfRoom(
    _ payload: RawSpan, key: some PayloadBytes
  ) throws(QueueError) -> AppendResult? {
    let shard = try shard(of: key)
    let result = try pool.withWriter(ofShard: shard) { writer throws(QueueError) in
      try writer.appendIfRoom(payload)
    }
    return result.map { AppendResult(shard: shard, $0) }
  }
}
