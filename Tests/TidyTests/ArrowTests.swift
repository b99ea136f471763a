// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The declarations of one file of the library that the others can use, and the names that it uses.
private struct SourceFile {
  var file: String
  /// The folder below Sources/DiskQueue, or "" at its root.
  var folder: String
  /// Names of types and functions at the top level, and of members that it adds to types of others.
  var declared: Set<String> = []
  var used: Set<String> = []
  var imported: Set<String> = []
  /// Names of functions, properties and cases at any depth.
  var members: Set<String> = []
  /// Extended types, and the members that this file adds to each.
  var added: [(type: String, member: String)] = []

  private static let kinds: Set<String> = [
    "struct", "class", "enum", "actor", "protocol", "typealias", "func", "let", "var",
  ]

  init(_ file: String, text: String) {
    self.file = file
    let path = file.split(separator: "/").dropFirst(2)
    folder = path.count > 1 ? String(path.first ?? "") : ""
    var extended: String?
    for line in SwiftText(text).lines {
      var words = line.code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
      // A position to begin reading at is a value, although its type is nested in a door.
      if line.code.contains("Topic.Position") { words.removeAll { $0 == "Topic" } }
      used.formUnion(words)
      if let index = words.firstIndex(of: "import"), index + 1 < words.count {
        imported.insert(words[index + 1])
      }
      if let index = words.firstIndex(where: { ["func", "var", "let", "case"].contains($0) }),
        index + 1 < words.count
      {
        members.insert(words[index + 1])
      }
      let depth = line.code.prefix { $0 == " " }.count
      if depth == 0, !line.code.isEmpty {
        extended = nil
        if let index = words.firstIndex(of: "extension"), index + 1 < words.count {
          extended = words[index + 1]
        }
      }
      guard !words.contains("private"), !words.contains("fileprivate"),
        let kind = words.firstIndex(where: { Self.kinds.contains($0) }), kind + 1 < words.count
      else { continue }
      let name = words[kind + 1]
      if depth == 0 {
        declared.insert(name)
      } else if depth == 2, let extended, words[kind] == "func" {
        added.append((extended, name))
      }
    }
  }
}

@Suite("Folders of the library use each other in one direction")
struct ArrowTests {
  /// The layers from the top. A folder may use those below it, but no other one of its layer.
  private static let layers: [Set<String>] = [
    [""], ["Channel", "Sharding"], ["Writing"], ["Cleaning"], ["Consumers"], ["Reading"], ["Log"],
    ["Waiting"], ["Storage"], ["Format"],
  ]

  /// Types at the root that are doors and not values: a folder below the one that is named must not
  /// use them.
  private static let doors: [String: String] = [
    "DiskChannel": "Channel", "ValueChannel": "Channel", "ShardedTopic": "Sharding",
    "ShardedWriter": "Sharding", "Sharder": "Sharding", "QueueWriter": "Writing",
    "SlabCleaner": "Cleaning", "Retention": "Cleaning", "QueueConsumer": "Consumers",
    "QueueReader": "Reading", "Topic": "Consumers", "ValueWriter": "Writing",
    "ValueConsumer": "Consumers", "ValueRecords": "Reading",
  ]

  /// Arrows that point up, with their reasons.
  private static let exceptions: [(file: String, name: String, reason: String)] = [
    (
      "Consumers/ConsumerCore.swift", "QueueWriter",
      "a consumer puts records aside in a topic that it writes like any other program"
    )
  ]

  /// Functions that Swift's own types have as well.
  private static let ofSwift: Set<String> = ["append"]

  private static let files = Result {
    try Checkout.swiftFiles(below: "Sources/DiskQueue").map {
      SourceFile($0, text: try Checkout.text($0))
    }
  }

  private func layer(_ folder: String) throws -> Int {
    try #require(Self.layers.firstIndex { $0.contains(folder) }, "\(folder) is in no layer")
  }

  @Test("no file uses a name of a folder above its own")
  func arrows() throws {
    let files = try Self.files.get()
    var owners: [String: Set<String>] = [:]
    for file in files {
      for name in file.declared { owners[name, default: []].insert(file.folder) }
    }
    // A function that is added to a type of another folder is an arrow that no type's name shows.
    // Only of names that no other folder declares: which one is meant is not known here.
    let types = owners
    for file in files {
      for (type, member) in file.added
      where types[type].map({ !$0.contains(file.folder) }) ?? true && !Self.ofSwift.contains(member)
        && files.allSatisfy({ $0.folder == file.folder || !$0.members.contains(member) })
      {
        owners[member, default: []].insert(file.folder)
      }
    }
    var arrows = 0
    for file in files {
      let own = try layer(file.folder)
      for name in file.used.sorted() {
        guard let folders = owners[name], !folders.contains(file.folder) else { continue }
        let isExcused = Self.exceptions.contains { file.file.hasSuffix($0.file) && $0.name == name }
        if folders == [""] {
          guard let door = Self.doors[name] else { continue }
          #expect(try own <= layer(door) || isExcused, "\(file.file) uses the door \(name)")
        } else {
          arrows += 1
          let lowest = try folders.filter { $0 != "" }.map(layer).max() ?? 0
          #expect(
            lowest > own || isExcused,
            "\(file.file) uses \(name) of \(folders.sorted().joined(separator: ", "))")
        }
      }
    }
    #expect(arrows > 300)
  }

  @Test("every exception is still needed")
  func exceptions() throws {
    for exception in Self.exceptions {
      let file = try #require(try Self.files.get().first { $0.file.hasSuffix(exception.file) })
      #expect(file.used.contains(exception.name), "\(exception.file): \(exception.reason)")
    }
  }

  @Test("one file of the library talks to the system")
  func system() throws {
    for file in try Self.files.get() where !file.file.hasSuffix("Storage/Syscalls.swift") {
      #expect(file.imported.isDisjoint(with: ["Glibc", "Musl", "Darwin"]), "\(file.file)")
    }
  }
}
