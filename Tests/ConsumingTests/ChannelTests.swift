// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A channel")
struct ChannelTests {
  private func small(_ cap: ByteCount = .kibibytes(64)) -> DiskChannel.Options {
    var options = DiskChannel.Options()
    options.writer.maximumBytes = cap
    options.writer.slabSize = .bytes(cap.bytes / 4)
    options.writer.bufferSize = .kibibytes(4)
    options.acknowledgementDelay = .microseconds(100)
    return options
  }

  private func payload(_ number: Int) -> [UInt8] {
    Array("message \(number) ".utf8)
      + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 80)
  }

  private func number(_ message: DiskChannel.Message) -> Int {
    let text = String(decoding: message.payload.prefix(24), as: UTF8.self)
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? -1
  }

  private func receive(_ channel: DiskChannel) async throws -> [Int] {
    var numbers: [Int] = []
    for try await message in channel {
      numbers.append(number(message))
      try message.acknowledge()
    }
    return numbers
  }

  private func slabs(_ storage: any TopicStorage) throws -> [UInt64] {
    try TopicIndex.slabs(in: storage)
  }

  @Test("messages come in order, finish ends the loop, and nothing is delivered twice")
  func inOrder() async throws {
    let topic = Topic.memory()
    let channel = try DiskChannel(topic: topic, options: small())
    async let received = receive(channel)
    for number in 0..<500 { try await channel.send(payload(number)) }
    channel.finish()
    #expect(try await received == Array(0..<500))
    try await channel.close()
    let again = try DiskChannel(topic: topic, options: small())
    again.finish()
    #expect(try await receive(again) == [])
    try await again.close()
  }

  @Test("a sender waits while the channel is full, whatever goes through it, and room comes back")
  func backPressure() async throws {
    let storage = try Topic.memory().openForReading()
    let channel = try DiskChannel(topic: Topic(storage: storage), options: small())
    var most = 0
    async let received = receive(channel)
    // Sends ten times as much as the channel holds.
    for number in 0..<6000 {
      try await channel.send(payload(number))
      most = max(most, try slabs(storage).count)
    }
    channel.finish()
    #expect(try await received == Array(0..<6000))
    #expect(most <= 5)
    try await channel.close()
    // Acknowledged messages are gone, except in the last slab.
    #expect(try slabs(storage).count <= 2)
  }

  @Test("a full channel whose messages were all acknowledged at once goes on")
  func allAtOnce() async throws {
    let channel = try DiskChannel(topic: .memory(), options: small())
    var sent = 0
    for _ in 0..<5 {
      // Sends as much as fits, and then one more message, which waits.
      let first = sent
      while channel.hasRoom(forPayload: 200) {
        try await channel.send(payload(sent))
        sent += 1
      }
      let next = sent
      let waiting = Task { [self] in try await channel.send(payload(next)) }
      sent += 1
      var messages: [DiskChannel.Message] = []
      var iterator = channel.makeAsyncIterator()
      while messages.count < next - first {
        messages.append(try #require(try await iterator.next()))
      }
      #expect(messages.map(number) == Array(first..<next))
      for message in messages { try message.acknowledge() }
      try await waiting.value
      let last = try #require(try await iterator.next())
      #expect(number(last) == next)
      try last.acknowledge()
    }
    try await channel.close()
  }

  @Test("what was not acknowledged comes again, first, in the next run")
  func nextRun() async throws {
    let topic = Topic.memory()
    var channel = try DiskChannel(topic: topic, options: small())
    for number in 0..<10 { try await channel.send(payload(number)) }
    var iterator = channel.makeAsyncIterator()
    for expected in 0..<6 {
      let message = try #require(try await iterator.next())
      #expect(number(message) == expected)
      // Message 2 is not acknowledged, so the cursor stays before it.
      if expected != 2 { try message.acknowledge() }
    }
    try await channel.close()
    channel = try DiskChannel(topic: topic, options: small())
    try await channel.send(payload(10))
    channel.finish()
    #expect(try await receive(channel) == Array(2...10))
    try await channel.close()
  }

  @Test("several senders and several receivers: every message once, each sender's in order")
  func several() async throws {
    let channel = try DiskChannel(topic: .memory(), options: small())
    let receivers = (0..<4).map { _ in Task { [self] in try await receive(channel) } }
    let senders = (0..<4).map { sender in
      Task { [self] in
        for number in 0..<500 { try await channel.send(payload(sender * 1000 + number)) }
      }
    }
    for sender in senders { try await sender.value }
    channel.finish()
    var lists: [[Int]] = []
    for receiver in receivers { lists.append(try await receiver.value) }
    let all = lists.flatMap { $0 }.sorted()
    var expected: [Int] = []
    for sender in 0..<4 { expected += sender * 1000..<sender * 1000 + 500 }
    #expect(all == expected)
    for list in lists {
      for sender in 0..<4 {
        let own = list.filter { $0 / 1000 == sender }
        #expect(own == own.sorted())
      }
    }
    try await channel.close()
  }

  @Test("a receiver that is cancelled stops at once, and loses no message")
  func cancelledReceiver() async throws {
    let channel = try DiskChannel(topic: .memory(), options: small())
    let task = Task { [self] in try await receive(channel) }
    task.cancel()
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    try await channel.send(payload(1))
    channel.finish()
    #expect(try await receive(channel) == [1])
    try await channel.close()
  }

  @Test("closing ends sending and receiving, and the error names the channel")
  func closing() async throws {
    let channel = try DiskChannel(topic: .memory(), options: small())
    try await channel.send(payload(0))
    var iterator = channel.makeAsyncIterator()
    let waiting = try #require(try await iterator.next())
    let receiver = Task { [self] in try await receive(channel) }
    while channel.hasRoom(forPayload: 200) { try await channel.send(payload(0)) }
    try await channel.close()
    let sending = await queueError { try await channel.send(payload(1)) }
    let receiving = await queueError { _ = try await receiver.value }
    let next = await queueError { _ = try await iterator.next() }
    let acknowledging = queueError { try waiting.acknowledge() }
    let aside = await queueError { _ = try await waiting.deadLetter(reason: "late") }
    let settling = await queueError { try await channel.settle() }
    for error in [sending, receiving, next, acknowledging, settling] {
      #expect(error?.code == .closed)
      #expect(error?.message.contains("the channel was closed") == true)
    }
    #expect(aside?.code == .invalidOption)
    try await channel.close()
  }

  @Test("an acknowledgement does not wait for the disk, and settling waits for all of them")
  func settling() async throws {
    let topic = Topic.memory()
    var options = small()
    options.acknowledgementDelay = .seconds(3600)
    let channel = try DiskChannel(topic: topic, options: options)
    for number in 0..<5 { try await channel.send(payload(number)) }
    func position() throws -> UInt64? {
      try QueueConsumer.consumers(of: topic).first?.ordinal
    }
    var iterator = channel.makeAsyncIterator()
    for _ in 0..<3 { try await iterator.next()?.acknowledge() }
    let fourth = try #require(try await iterator.next())
    try await iterator.next()?.acknowledge()
    #expect(try position() == 0)
    try await channel.settle()
    // Message 3 is not acknowledged, so the cursor stays before it.
    #expect(try position() == 3)
    try fourth.acknowledge()
    try await channel.settle()
    #expect(try position() == 5)
    try await channel.close()
  }

  @Test("a message that cannot be handled goes to the dead letters, and does not come again")
  func deadLetter() async throws {
    let dead = Topic.memory()
    let topic = Topic.memory()
    var options = small()
    options.consumer.deadLetters = dead
    var channel = try DiskChannel(topic: topic, options: options)
    for number in 0..<3 { try await channel.send(payload(number)) }
    channel.finish()
    var handled: [Int] = []
    for try await message in channel {
      if number(message) == 1 {
        try await message.deadLetter(reason: "cannot be parsed")
      } else {
        handled.append(number(message))
        try message.acknowledge()
      }
    }
    #expect(handled == [0, 2])
    try await channel.close()
    let letters = try readAll(dead).records
    #expect(letters.count == 1)
    channel = try DiskChannel(topic: topic, options: options)
    channel.finish()
    #expect(try await receive(channel) == [])
    try await channel.close()
  }

  @Test("slabs that another consumer has not acknowledged stay")
  func otherConsumer() async throws {
    let storage = try Topic.memory().openForReading()
    let topic = Topic(storage: storage)
    var options = small(.mebibytes(1))
    options.writer.slabSize = .kibibytes(4)
    let channel = try DiskChannel(topic: topic, options: options)
    let audit = try QueueConsumer(topic: topic, name: "audit")
    for number in 0..<500 { try await channel.send(payload(number)) }
    channel.finish()
    _ = try await receive(channel)
    try await channel.close()
    #expect(try slabs(storage).first == 0)
    var seen = 0
    while let batch = try await audit.nextBatch(upTo: 100, following: false) {
      seen += batch.count
      try await batch.acknowledge()
    }
    #expect(seen == 500)
    try await audit.close()
  }

  @Test(
    "a sender that waits goes on when another consumer acknowledges last", .timeLimit(.minutes(10)))
  func otherConsumerLast() async throws {
    let topic = Topic.memory()
    let channel = try DiskChannel(topic: topic, options: small())
    let audit = try QueueConsumer(topic: topic, name: "audit")
    var sent = 0
    while channel.hasRoom(forPayload: 200) {
      try await channel.send(payload(sent))
      sent += 1
    }
    let waiting = Task { [self] in try await channel.send(payload(-1)) }
    var iterator = channel.makeAsyncIterator()
    for _ in 0..<sent { try await iterator.next()?.acknowledge() }
    // After `settle`, the channel's own cursor is durable. The other consumer still holds
    // everything.
    try await channel.core.settle()
    for try await batch in audit.batches(upTo: 100, following: false) {
      try await batch.acknowledge()
    }
    try await waiting.value
    let last = try #require(try await iterator.next())
    #expect(number(last) == -1)
    try await audit.close()
    try await channel.close()
  }

  @Test("the largest messages that the cap takes go through", .timeLimit(.minutes(10)))
  func largeMessages() async throws {
    let channel = try DiskChannel(topic: .memory(), options: small())
    let receiver = Task {
      var sizes: [Int] = []
      for try await message in channel {
        sizes.append(message.payload.count)
        try message.acknowledge()
      }
      return sizes
    }
    for _ in 0..<6 { try await channel.send([UInt8](repeating: 1, count: 32_300)) }
    channel.finish()
    #expect(try await receiver.value == [Int](repeating: 32_300, count: 6))
    try await channel.close()
  }

  @Test("a message whose sender was cancelled in its sync is received", .timeLimit(.minutes(10)))
  func cancelledSender() async throws {
    let storage = GatedStorage(try Topic.memory().openForReading())
    var options = small()
    options.ensuring = .synced
    let channel = try DiskChannel(topic: Topic(storage: storage), options: options)
    let receiver = Task {
      var iterator = channel.makeAsyncIterator()
      return try await iterator.next()?.text
    }
    while channel.core.waitingReceivers == 0 { await Task.yield() }
    storage.gate.close()
    let before = storage.gate.syncs
    let sender = Task { try await channel.send("sent all the same") }
    await storage.gate.waitForSyncs(before + 1)
    sender.cancel()
    let error = await #expect(throws: QueueError.self) { try await sender.value }
    #expect(error?.code == .cancelled)
    #expect(error?.appended == 1)
    storage.gate.open()
    #expect(try await receiver.value == "sent all the same")
    try await channel.close()
  }

  @Test("on a full disk, what was flushed is received")
  func fullDisk() async throws {
    let storage = SimulatedStorage()
    var options = small()
    options.ensuring = .buffered
    let channel = try DiskChannel(
      topic: Topic(storage: storage), options: options,
      environment: fixedEnvironment(background: .thread))
    for number in 0..<10 { try await channel.send(payload(number)) }
    try await channel.core.writer.flush()
    storage.setCapacity(storage.used)
    try await channel.send(payload(10))
    var iterator = channel.makeAsyncIterator()
    for expected in 0..<10 {
      let message = try #require(try await iterator.next())
      #expect(number(message) == expected)
    }
    let error = await #expect(throws: QueueError.self) { _ = try await iterator.next() }
    #expect(error?.code == .noSpace)
    storage.setCapacity(nil)
    let last = try #require(try await iterator.next())
    #expect(number(last) == 10)
    try await channel.close()
  }

  @Test("a second channel on a topic is refused, and options are checked")
  func refused() async throws {
    let topic = Topic.memory()
    let channel = try DiskChannel(topic: topic, options: small())
    #expect(queueError { _ = try DiskChannel(topic: topic, options: small()) }?.code == .locked)
    var options = small()
    options.acknowledgementDelay = .zero
    #expect(
      queueError { _ = try DiskChannel(topic: .memory(), options: options) }?.code
        == .invalidOption)
    try await channel.close()
    let again = try DiskChannel(topic: topic, options: small())
    try await again.close()
  }

  @Test("what is sent is on stable storage where that was asked for, and senders share syncs")
  func syncedSends() async throws {
    let storage = GatedStorage(try Topic.memory().openForReading())
    var options = small()
    options.ensuring = .synced
    let channel = try DiskChannel(topic: Topic(storage: storage), options: options)
    storage.gate.close()
    let before = storage.gate.syncs
    let tasks = (0..<32).map { number in Task { [self] in try await channel.send(payload(number)) }
    }
    await storage.gate.waitForSyncs(before + 1)
    storage.gate.open()
    for task in tasks { try await task.value }
    channel.finish()
    #expect(try await receive(channel).sorted() == Array(0..<32))
    try await channel.close()
  }
}

extension DiskChannel {
  fileprivate func hasRoom(forPayload payload: Int) -> Bool {
    core.writer.core.updateTail { $0.shortage(forPayload: payload) } == 0
  }
}
