// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// A habit of the older texts that makes a sentence hard to read for all but native speakers.
struct Idiom: Sendable, CustomTestStringConvertible {
  var name: String
  /// What to write in its place.
  var instead: String
  /// Each phrase is words in a row, in lower case. A phrase ";" is the semicolon.
  var phrases: [[String]]
  /// How many of 1,000 words of internal comments may be of it: as many as in the one of eight
  /// model projects that has most (swift-nio, Subprocess, Collections, AsyncAlgorithms, LevelDB,
  /// GRDB, Vector, TigerBeetle).
  var mostPerThousand: Double

  var testDescription: String { name }

  private init(
    _ name: String, _ phrases: [String], most: Double, instead: String
  ) {
    self.name = name
    self.phrases = phrases.map { $0.split(separator: " ").map(String.init) }
    self.mostPerThousand = most
    self.instead = instead
  }

  static let all: [Idiom] = [
    Idiom("who", ["who", "whoever", "whom"], most: 0, instead: "name the actor"),
    Idiom(
      "where for if", ["where", "wherever"], most: 0.32,
      instead: "write if or when for a condition"),
    Idiom(
      "what as a noun",
      [
        "is", "are", "was", "were", "has", "had", "can", "may", "could", "must", "would", "will",
        "it", "they", "follows", "comes", "goes", "stands", "lies",
      ].map { "what " + $0 }, most: 0.05, instead: "name the thing"),
    Idiom("behind for after", ["behind"], most: 0.1, instead: "write after, past or beyond"),
    Idiom(
      "tell", ["tell", "tells", "told", "telling"], most: 0.16, instead: "write report, or know"),
    Idiom(
      "stand and lie",
      ["stand", "stands", "stood", "standing", "lie", "lies", "lay", "lain", "lying"], most: 0.11,
      instead: "write is, or is stored"),
    Idiom(
      "nobody",
      [
        "nobody", "somebody", "anybody", "everybody", "someone", "anyone", "everyone", "no one",
      ], most: 0, instead: "name the actor"),
    Idiom("semicolon", [";"], most: 3.1, instead: "make two sentences"),
    Idiom("he", ["he", "his", "him", "she", "her", "hers"], most: 0, instead: "name the actor"),
    Idiom(
      "is had", ["is had", "are had", "was had", "were had", "be had", "been had"], most: 0,
      instead: "write has, or acquire"),
  ]
}

/// The words of a line, in lower case, and its semicolons.
func words(_ text: String) -> [String] {
  var words: [String] = []
  var word: [UInt8] = []
  func end() {
    if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
    word.removeAll(keepingCapacity: true)
  }
  for byte in text.utf8 {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): word.append(byte | 0x20)
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "'"), 0x80...: word.append(byte)
    case UInt8(ascii: ";"):
      end()
      words.append(";")
    default: end()
    }
  }
  end()
  return words
}

extension Idiom {
  /// How often it is in a line.
  func count(in words: [String]) -> Int {
    phrases.reduce(0) { count, phrase in
      guard words.count >= phrase.count else { return count }
      return count
        + (0...words.count - phrase.count).count {
          words[$0..<$0 + phrase.count].elementsEqual(phrase)
        }
    }
  }
}
