// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedTopic {
  /// Assigns keys to shards.
  ///
  /// A key must lead to the same shard as long as the topic exists. A record is only looked up in
  /// the shard of its key. On disk, the kind of sharder is stored with the topic, and another kind
  /// is refused.
  public struct Sharder: Sendable {
    enum Assignment: Sendable {
      case hash
      case keys(KeyList)
      case custom(@Sendable (Span<UInt8>, Int) throws(QueueError) -> Int)
    }

    let kind: Assignment

    private init(_ kind: Assignment) { self.kind = kind }

    /// Assigns keys by their hash.
    ///
    /// The shard is the XXH3-64 of the key's bytes with seed 0, modulo the number of shards. Every
    /// key has a shard, the empty key included. Keys whose results are equal share a shard.
    public static let hash = Sharder(.hash)

    /// Assigns keys from a list: the index of a key in the list is its shard.
    ///
    /// You may add keys at the end later, as long as there are shards for them. When the list is
    /// used, `invalidOption` refuses
    ///
    /// - a key that is not in the list
    /// - a list that contains a key twice
    /// - a list with more keys than there are shards
    ///
    /// Keys are compared byte by byte. The topic stores that there is a list, but not the list
    /// itself.
    public static func keys(_ keys: [String]) -> Sharder { Sharder(.keys(KeyList(keys))) }

    /// Assigns keys with the program's own function.
    ///
    /// No file can store the function. It must stay the same in every program that opens the topic.
    ///
    /// - Parameter shard: Returns the shard of a key, for a number of shards. It is called once per
    ///   record, on the thread that appends, so by several threads at once. A result that is not a
    ///   shard is refused with `invalidOption`, which is the way to refuse a key. An error that it
    ///   throws is thrown to the caller.
    public static func custom(
      _ shard: @escaping @Sendable (_ key: Span<UInt8>, _ count: Int) throws(QueueError) -> Int
    ) -> Sharder { Sharder(.custom(shard)) }

    /// The kind of sharder, as it is stored.
    var dealer: ShardsFile.Dealer {
      switch kind {
      case .hash: .hash
      case .keys: .list
      case .custom: .program
      }
    }

    /// The number of shards of a new topic, if the caller does not state one. It is 16, or the
    /// number of keys in a list if that is higher. 16 shards spread the load over a machine's
    /// cores, and are few files.
    var ordinaryCount: Int {
      guard case .keys(let list) = kind else { return Self.ordinaryCount }
      return max(Self.ordinaryCount, list.keys.count)
    }

    static let ordinaryCount = 16

    /// Checks that this sharder can assign keys to this number of shards.
    ///
    /// - Throws: `invalidOption` if it cannot.
    func check(for count: Int) throws(QueueError) {
      guard case .keys(let list) = kind else { return }
      if let repeated = list.repeated {
        throw .invalidOption(
          "the list of keys contains \(Self.quoted(repeated.utf8)) twice, and a key has one shard:"
            + " remove one of them")
      }
      guard list.keys.count <= count else {
        throw .invalidOption(
          "the list has \(list.keys.count) keys, but there are only \(count) shards: each key needs"
            + " its own shard")
      }
    }

    /// Returns the shard of a key. The caller has checked the sharder for this number of shards.
    func shard(of key: RawSpan, among count: Int) throws(QueueError) -> Int {
      switch kind {
      case .hash:
        return Int(Checksum.xxh3(key, seed: 0) % UInt64(count))
      case .keys(let list):
        guard let shard = list.place(of: key) else {
          throw .invalidOption(
            "the list of keys does not contain \(Self.quoted(key)): add it at the end, or use"
              + " another key")
        }
        return shard
      case .custom(let body):
        let shard = try body(Span<UInt8>(_bytes: key), count)
        guard (0..<count).contains(shard) else {
          throw .invalidOption(
            "the program's sharder returned \(shard) for the key \(Self.quoted(key)), but shards"
              + " are numbered from 0 to \(count - 1)")
        }
        return shard
      }
    }

    /// The longest part of a key in a message, in bytes.
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

/// Keys and their indices. A lookup needs no allocation.
struct KeyList: Sendable {
  let keys: [String]
  /// The first key that is in the list twice.
  let repeated: String?
  private let bytes: [[UInt8]]
  /// Indices by the hash of the key.
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
