// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// A few consecutive records, and the position to continue from.
  public struct Page: Sendable {
    /// The bounds of a page.
    ///
    /// ``Topic/page(from:upTo:waiting:options:)`` refuses a value that is out of its bounds with
    /// `invalidOption`.
    public struct Options: Sendable {
      /// The largest size of a page: its records, with 8 bytes each for their headers.
      ///
      /// 4 MiB by default, as a consumer's batch. It must be 1 byte to 1 GiB. A larger record is a
      /// page by itself.
      public var maximumBytes: ByteCount

      /// The largest payload that a page returns. 16 MiB by default, as the writer's.
      ///
      /// It must be 0 bytes to 4 GiB less 17 bytes. A record with a larger payload is verified and
      /// passed over, and its address is in ``Topic/Page/oversized``.
      public var maximumPayload: ByteCount

      /// Makes options. Each has a default.
      public init(
        maximumBytes: ByteCount = .mebibytes(4),
        maximumPayload: ByteCount = .mebibytes(16)
      ) {
        self.maximumBytes = maximumBytes
        self.maximumPayload = maximumPayload
      }

      /// Checks that all values are within their bounds.
      ///
      /// - Throws: `invalidOption`, with the bounds.
      public func validate() throws(QueueError) {
        try Limits.check(maximumBytes, Limits.batchBytes, "maximumBytes")
        try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      }
    }

    /// The records, in order.
    public var records: [QueueRecord]

    /// The position at which the next page begins: pass `.address(page.next)`.
    ///
    /// It stays valid, also in another process and after a crash. Records that are cleaned before
    /// the next page are reported there as a loss of an unknown number of records. If the next page
    /// begins at the ordinal after the last record instead, the number is exact.
    public var next: Address

    /// Whether the log ended after these records when the page was read. If false, there may be
    /// more records.
    public var isAtEnd: Bool

    /// The losses between the records, each in one page.
    public var losses: [Loss]

    /// The addresses of the records that are above ``Options/maximumPayload``.
    public var oversized: [Address]

    /// Makes a page by hand, for example for a test.
    public init(
      records: [QueueRecord] = [], next: Address, isAtEnd: Bool, losses: [Loss] = [],
      oversized: [Address] = []
    ) {
      self.records = records
      self.next = next
      self.isAtEnd = isAtEnd
      self.losses = losses
      self.oversized = oversized
    }

    /// The number of records, losses and oversized records.
    fileprivate var entries: Int { records.count + losses.count + oversized.count }
  }

  /// Reads a few records for a task, such as the handler of a server's request.
  ///
  /// The page is the answer and `next` is the client's bookmark. Nothing stays open between two
  /// pages, so a server needs no memory for a client.
  ///
  /// ```swift
  /// let page = try await topic.page(upTo: 100)
  /// for record in page.records { print(record.text ?? "binary") }
  /// let next = try await topic.page(from: .address(page.next), upTo: 100, waiting: .seconds(20))
  /// ```
  ///
  /// It never blocks a thread of the cooperative pool. It reads on threads of the library, of which
  /// there are at most 16 in a process, and none while no page is read. Further pages wait for
  /// their turn. Any number of tasks may read pages.
  ///
  /// If an address was never that of a record, a page that begins there throws `notARecord`. After
  /// its range is cleaned, the topic cannot know that: the page reports the loss `cleaned`.
  ///
  /// If you read a topic from its beginning to its end, use a ``QueueReader``: it opens the topic
  /// once.
  ///
  /// - Parameters:
  ///   - start: The position at which the page begins. The earliest record by default.
  ///   - count: The largest number of records. Losses and oversized records count, too. At least 1.
  ///   - time: How long to wait for a record if the page would be empty. Each flush wakes the task.
  ///     After this time the page is empty. Not at all by default.
  ///   - options: The bounds of the page.
  /// - Throws: One of these codes:
  ///   - `beyondLatest` or `notARecord` if `start` is not a valid position.
  ///   - `noSuchTopic`, `notATopic`, `unsupportedFormat`, `invalidOption` or `system`. If records
  ///     precede the error, the page has them, and the next page throws the error.
  ///   - `cancelled`, immediately, if the task is cancelled.
  /// - Complexity: As of opening a ``QueueReader``, and O(bytes of the page), with one allocation a
  ///   record.
  public func page(
    from start: Topic.Position = .earliest, upTo count: Int, waiting time: Duration = .zero,
    options: Page.Options = .init()
  ) async throws(QueueError) -> Page {
    try options.validate()
    guard count > 0 else {
      throw .invalidOption("a page has at least 1 record, and upTo is \(count)")
    }
    if Task.isCancelled { throw .cancelled() }
    let deadline =
      time > .zero ? ContinuousClock.now.advanced(by: min(time, Self.longestWait)) : nil
    // The working directory may change while the task waits.
    let topic = anchored()
    var page = try await topic.read(from: start, upTo: count, options)
    guard let deadline, page.entries == 0 else { return page }
    let watch = try await topic.onThread { () throws(QueueError) in
      try TopicWatch(try topic.openForReading())
    }
    while true {
      // Read before the look, so that no later change is missed.
      let seen = watch.generation
      page = try await topic.read(from: .address(page.next), upTo: count, options)
      guard page.entries == 0, ContinuousClock.now < deadline else { return page }
      try await watch.change(since: seen, until: deadline)
    }
  }

  /// A hundred years. The clock cannot count much longer times.
  private static let longestWait = Duration.seconds(100 * 366 * 86_400)

  /// Runs work that may wait for the topic's disk, on a thread that pages share.
  func onThread<R: Sendable>(
    _ body: @escaping @Sendable () throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    // Nothing in memory waits for a disk.
    if memoryBounds != nil { return try body() }
    return try await SharedThreads.pages.run(path: description, body)
  }

  private func read(
    from start: Topic.Position, upTo count: Int, _ options: Page.Options
  ) async throws(QueueError) -> Page {
    try await onThread { () throws(QueueError) in
      try Page(of: try openForReading(), from: start, upTo: count, options)
    }
  }
}

extension Topic.Page {
  /// A page needs no larger buffer: reading begins up to 64 KiB before its start.
  private static let bufferSize = 64 << 10

  /// Reads a page.
  fileprivate init(
    of storage: any TopicStorage, from start: Topic.Position, upTo count: Int, _ options: Options
  ) throws(QueueError) {
    var walker = LogWalker(
      TopicIndex(storage), payloadLimit: UInt32(clamping: options.maximumPayload.bytes),
      bufferSize: Self.bufferSize)
    try walker.seek(to: start, now: Environment.system.now)
    self.init(next: Address(rawValue: walker.position), isAtEnd: false)
    do throws(QueueError) {
      try fill(upTo: count, options.maximumBytes.bytes, &walker)
    } catch {
      // The next page meets the same error first.
      guard entries > 0 else { throw error }
    }
    losses += walker.takeUnreportedLosses(before: next.rawValue)
  }

  private mutating func fill(
    upTo count: Int, _ maximumBytes: Int64, _ walker: inout LogWalker
  ) throws(QueueError) {
    var bytes: Int64 = 0
    while entries < count {
      switch try walker.step() {
      case .record(let address, let ordinal, let payload):
        bytes += Int64(FrameHeader.byteCount + payload.count)
        guard records.isEmpty || bytes <= maximumBytes else {
          next = Address(rawValue: address)
          return
        }
        let record = walker.record(address, ordinal, at: payload.lowerBound, payload.count)
        records.append(record.copy())
      case .tooLarge(let address, _):
        oversized.append(Address(rawValue: address))
      case .loss(let loss):
        losses.append(loss)
      case .end:
        isAtEnd = true
        // `next` stays at the last record or loss, so that nothing found here is left out.
        return
      }
      next = Address(rawValue: walker.position)
    }
  }
}

extension TopicWatch {
  /// Suspends the task until there has been a change since `generation`, or until a time.
  fileprivate func change(
    since generation: UInt64, until deadline: ContinuousClock.Instant
  ) async throws(QueueError) {
    let result = await withTaskGroup(of: Result<Void, QueueError>.self) { group in
      group.addTask {
        do throws(QueueError) {
          return .success(try await self.change(since: generation))
        } catch {
          return .failure(error)
        }
      }
      group.addTask {
        do {
          try await Task.sleep(until: deadline, clock: .continuous)
          return .success(())
        } catch {
          // A sleep fails only if the task is cancelled.
          return .failure(.cancelled())
        }
      }
      let first = await group.next()
      group.cancelAll()
      return first ?? .success(())
    }
    try result.get()
  }
}
