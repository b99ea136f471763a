// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The key of each record for a sharded topic.
enum RecordKey: Sendable {
  /// All records have this key.
  case same(String)
  /// A field of each record, which is JSON, is its key.
  case field(FieldPath)

  func text(of payload: UnsafeRawBufferPointer) throws -> String {
    switch self {
    case .same(let key): key
    case .field(let path): try path.text(in: payload)
    }
  }
}

/// The path of a field in JSON, as it is written on the command line: the names of the objects and
/// of the field, with dots between, as in `customer.id`.
struct FieldPath: ArgumentValue, Sendable {
  static let legal =
    "a field is a name, or several names with dots between, as in customer.id. Write a dot or a"
    + " backslash that belongs to a name as \\. or \\\\"

  /// The record has no usable field. The text follows the name of the record.
  struct Refusal: Error {
    let text: String
  }

  private let names: [String]
  private let argument: String
  private let decoder = JSONDecoder()

  init?(argument: String) {
    var names = [""]
    var rest = argument[...]
    while let character = rest.popFirst() {
      switch character {
      case ".": names.append("")
      case "\\":
        guard let next = rest.popFirst(), next == "." || next == "\\" else { return nil }
        names[names.count - 1].append(next)
      default: names[names.count - 1].append(character)
      }
    }
    guard !names.contains("") else { return nil }
    (self.names, self.argument) = (names, argument)
  }

  /// The field's text. A whole number is its decimal digits.
  func text(in json: UnsafeRawBufferPointer) throws -> String {
    let value: FieldValue
    do {
      value = try decoder.decode(FieldValue.self, from: Data(json), configuration: names)
    } catch {
      throw Refusal(text: "is not JSON, and so has no field \(argument)")
    }
    switch value {
    case .text(let text): return text
    case .missing: throw Refusal(text: "has no field \(argument)")
    case .unsuitable:
      throw Refusal(
        text: "has a field \(argument) that is neither text nor a whole number of 64 bits")
    }
  }
}

/// The field of a record that its path names. The path is the configuration.
private enum FieldValue: DecodableWithConfiguration {
  case text(String)
  case missing
  case unsuitable

  /// Any name of a field.
  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// - Throws: `dataCorrupted` if the JSON is damaged at the field.
  init(from decoder: any Decoder, configuration path: [String]) throws {
    var names = path.map(Name.init)[...]
    do {
      var object = try decoder.container(keyedBy: Name.self)
      while let name = names.popFirst() {
        guard names.isEmpty else {
          object = try object.nestedContainer(keyedBy: Name.self, forKey: name)
          continue
        }
        self = try object.contains(name) ? Self(object, name) : .missing
        return
      }
    } catch DecodingError.typeMismatch, DecodingError.valueNotFound, DecodingError.keyNotFound {
      // Something on the path is missing, or is no object.
    }
    self = .missing
  }

  private init(_ object: KeyedDecodingContainer<Name>, _ name: Name) throws {
    do {
      self = .text(try object.decode(String.self, forKey: name))
    } catch DecodingError.typeMismatch, DecodingError.valueNotFound {
      self = Self.digits(object, name).map { .text($0) } ?? .unsuitable
    }
  }

  /// The digits of a whole number. Nil if the value is none, or does not fit.
  private static func digits(_ object: KeyedDecodingContainer<Name>, _ name: Name) -> String? {
    if let number = try? object.decode(Int64.self, forKey: name) { return "\(number)" }
    if let number = try? object.decode(UInt64.self, forKey: name) { return "\(number)" }
    return nil
  }
}
