// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedTopic {
  /// Says which shard a key belongs to.
  ///
  /// The same key has to lead to the same shard for as long as the topic is there: a record is only
  /// looked for where its key leads. How keys are dealt out is stored with a topic on disk, as far as
  /// it can be, and another way is refused.
  public struct Sharder: Sendable {
    enum Kind: Sendable {
      case hash
      case keys(KeyList)
      case custom(@Sendable (Span<UInt8>, Int) throws(QueueError) -> Int)
    }

    let kind: Kind

    private init(_ kind: Kind) { self.kind = kind }

    /// XXH3-64 of the key's bytes, seed 0, modulo the number of shards. Any key has a shard, the empty
    /// one, too; keys whose hashes agree share theirs.
    public static let hash = Sharder(.hash)

    /// Keys that are known beforehand: a key's place in the list is its shard. Further keys may be
    /// added behind the last one later, while there are shards for them.
    ///
    /// A key that is not in the list is refused, with `invalidOption`, and so is a list that names a
    /// key twice or more keys than there are shards, once something needs it. Keys are compared byte
    /// by byte. What is stored with the topic is that there is a list, and not the list itself.
    public static func keys(_ keys: [String]) -> Sharder { Sharder(.keys(KeyList(keys))) }

    /// The program's own way, which no file can tell: it has to stay the same in every program that
    /// opens the topic.
    ///
    /// - Parameter shard: returns the shard of a key, for a number of shards. Called once a record,
    ///   on the thread that appends it, so by several at once. A result that is no shard is refused
    ///   with `invalidOption`, which is the way to refuse a key; what it throws is thrown on.
    public static func custom(
      _ shard: @escaping @Sendable (_ key: Span<UInt8>, _ count: Int) throws(QueueError) -> Int
    ) -> Sharder { Sharder(.custom(shard)) }

    /// What is stored of it.
    var dealer: ShardsFile.Dealer {
      switch kind {
      case .hash: .hash
      case .keys: .list
      case .custom: .program
      }
    }

    /// How many shards a new topic gets where nothing is said of them: 16, enough to spread the load
    /// of a machine's cores, and few files; and as many as a list has keys, where those are more.
    var ordinaryCount: Int {
      guard case .keys(let list) = kind else { return Self.ordinaryCount }
      return max(Self.ordinaryCount, list.keys.count)
    }

    static let ordinaryCount = 16

    /// - Throws: `invalidOption` where it cannot deal keys out to so many shards.
    func check(for count: Int) throws(QueueError) {
      guard case .keys(let list) = kind else { return }
      if let repeated = list.repeated {
        throw .invalidOption(
          "the list of keys names \(Self.quoted(repeated.utf8)) twice: a key has one shard")
      }
      guard list.keys.count <= count else {
        throw .invalidOption(
          "the list has \(list.keys.count) keys, and there are \(count) shards: a key needs a shard"
            + " of its own")
      }
    }

    /// The shard of a key. The sharder was checked for the number.
    func shard(of key: RawSpan, among count: Int) throws(QueueError) -> Int {
      switch kind {
      case .hash:
        return Int(Checksum.xxh3(key, seed: 0) % UInt64(count))
      case .keys(let list):
        guard let shard = list.place(of: key) else {
          throw .invalidOption(
            "the list of keys has no \(Self.quoted(key)): add it behind the last one, or append under"
              + " another key")
        }
        return shard
      case .custom(let body):
        let shard = try body(Span<UInt8>(_bytes: key), count)
        guard (0..<count).contains(shard) else {
          throw .invalidOption(
            "the program's sharder says \(shard) for the key \(Self.quoted(key)), and shards are from"
              + " 0 to \(count - 1)")
        }
        return shard
      }
    }

    /// So much of a key stands in a message.
    private static let longestQuote = 64

    private static func quoted(_ key: RawSpan) -> String {
      quoted((0..<min(key.byteCount, longestQuote + 1)).map { key.byte($0) })
    }

    private static func quoted(_ key: some Collection<UInt8>) -> String {
      let text = String(decoding: key.prefix(longestQuote), as: UTF8.self)
      return key.count > longestQuote ? "\"\(text)…\"" : "\"\(text)\""
    }
  }
}

/// Keys and their places, found without an allocation.
struct KeyList: Sendable {
  let keys: [String]
  /// The first key that is there twice.
  let repeated: String?
  private let bytes: [[UInt8]]
  /// Places by the hash of the key.
  private let places: [UInt64: [Int]]

  init(_ keys: [String]) {
    let bytes = keys.map { Array($0.utf8) }
    var places: [UInt64: [Int]] = [:]
    var repeated: String?
    for (place, key) in bytes.enumerated() {
      // Safe: a span of bytes is its bytes, and the array outlives the call.
      let hash = unsafe Checksum.xxh3(key.span.bytes, seed: 0)
      if repeated == nil, places[hash, default: []].contains(where: { bytes[$0] == key }) {
        repeated = keys[place]
      }
      places[hash, default: []].append(place)
    }
    self.keys = keys
    self.bytes = bytes
    self.places = places
    self.repeated = repeated
  }

  func place(of key: RawSpan) -> Int? {
    places[Checksum.xxh3(key, seed: 0)]?.first { place in
      let known = bytes[place]
      return known.count == key.byteCount
        && known.indices.allSatisfy { known[$0] == key.byte($0) }
    }
  }
}
