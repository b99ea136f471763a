// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// The names of an appended record: its address and its ordinal.
  public struct AppendResult: Sendable, Hashable {
    /// The record's permanent address.
    public let address: Address
    /// The number of records that the topic took before this one.
    public let ordinal: UInt64

    /// The address after this record, and the next ordinal.
    ///
    /// - Parameter payload: the size of its payload, in bytes.
    func end(payload: Int) -> AppendResult {
      AppendResult(
        address: Address(rawValue: address.rawValue + UInt64(FrameHeader.byteCount + payload)),
        ordinal: ordinal + 1)
    }
  }

  /// The names of the records of an appended batch.
  ///
  /// If other threads append during the call, the ranges may include their records.
  public struct BatchAppendResult: Sendable, Hashable {
    /// The range from the first record's address to the end of the last record.
    ///
    /// For a batch without records it is empty, at the writer's ``QueueWriter/position``.
    public let addresses: Range<Address>
    /// The range from the first record's ordinal to the ordinal after the last record's.
    ///
    /// For a batch without records it is empty, at the ordinal of the topic's next record.
    public let ordinals: Range<UInt64>
  }
}
