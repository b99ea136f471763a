// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedWriter {
  /// The names of an appended record: its shard, and its address and ordinal there.
  public struct AppendResult: Sendable, Hashable {
    /// The shard of the record's key.
    public let shard: Int
    /// The record's permanent address in the shard.
    public let address: Address
    /// The number of records that the shard took before this one.
    public let ordinal: UInt64

    /// The shard and the address, which together identify the record in the ``ShardedTopic``.
    public var shardAddress: ShardAddress { ShardAddress(shard: shard, address: address) }

    init(shard: Int, _ result: QueueWriter.AppendResult) {
      self.shard = shard
      (address, ordinal) = (result.address, result.ordinal)
    }
  }

  /// The names of those records of an appended batch that are in one shard.
  ///
  /// If other threads append to the shard during the call, the ranges may include their records.
  public struct BatchAppendResult: Sendable, Hashable {
    /// The shard.
    public let shard: Int
    /// The range from the first record's address to the end of the last record, in the shard.
    public let addresses: Range<Address>
    /// The range from the first record's ordinal to the ordinal after the last record's, in the
    /// shard.
    public let ordinals: Range<UInt64>

    init(shard: Int, _ result: QueueWriter.BatchAppendResult) {
      self.shard = shard
      (addresses, ordinals) = (result.addresses, result.ordinals)
    }
  }
}
