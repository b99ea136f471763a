// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedWriter {
  /// The options of each shard's writer, how many of them are open at once, and their events.
  ///
  /// ``ShardedWriter/init(topic:options:)`` refuses a value that is out of its bounds with
  /// `invalidOption`.
  public struct Options: Sendable {
    /// The options of each shard's writer.
    ///
    /// They are those of a ``QueueWriter``, but with a
    /// ``QueueWriter/Options-swift.struct/bufferSize`` of 64 KiB. Each open shard has its own
    /// buffer, so 64 of them take 4 MiB rather than 128 MiB. A cap applies to each shard.
    ///
    /// Its ``QueueWriter/Options-swift.struct/onEvent`` must be nil: ``onEvent`` names the shard.
    public var writer: QueueWriter.Options

    /// The number of shards that are open at once on a disk. 64 by default. It must be 1 or more.
    ///
    /// Each open shard holds a directory, a lock and a slab open, and a buffer. So 64 stay below
    /// the 1,024 files that a process may open by default. In memory this option has no effect,
    /// because an open shard costs nothing there.
    public var maximumOpenShards: Int

    /// Receives the events of all shards' writers, with the number of the shard. nil by default.
    ///
    /// The rules are those of ``QueueWriter/Options-swift.struct/onEvent``.
    public var onEvent: (@Sendable (_ shard: Int, _ event: QueueWriter.Event) -> Void)?

    /// Makes options. Every parameter has its default.
    ///
    /// - Parameters:
    ///   - writer: The options of each shard's writer. With a buffer of 64 KiB by default.
    ///   - maximumOpenShards: The number of shards that are open at once on a disk. 64 by default.
    ///   - onEvent: Receives the events of all shards' writers, with the number of the shard.
    public init(
      writer: QueueWriter.Options = .init(bufferSize: .kibibytes(64)),
      maximumOpenShards: Int = 64,
      onEvent: (@Sendable (_ shard: Int, _ event: QueueWriter.Event) -> Void)? = nil
    ) {
      self.writer = writer
      self.maximumOpenShards = maximumOpenShards
      self.onEvent = onEvent
    }

    /// Checks that all values are within their bounds.
    ///
    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try writer.validate()
      guard writer.onEvent == nil else {
        throw .invalidOption(
          "writer.onEvent is set: use onEvent of the sharded writer's options, which names the"
            + " shard")
      }
      guard maximumOpenShards >= 1 else {
        throw .invalidOption("maximumOpenShards is \(maximumOpenShards), and must be 1 or more")
      }
    }
  }
}
