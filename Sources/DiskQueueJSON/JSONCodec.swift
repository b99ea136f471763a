// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

#if canImport(FoundationEssentials)
  public import FoundationEssentials
#else
  public import Foundation
#endif

/// `Codable` values as JSON, for `DiskChannel.values(_:)`.
///
/// ```swift
/// let readings = try DiskChannel(topic: "readings").values(JSONCodec<Reading>())
/// try await readings.send(Reading(celsius: 21.5))
/// for try await message in readings {
///   try await upload(message.value())
///   try await message.acknowledge()
/// }
/// ```
public struct JSONCodec<Value: Codable>: PayloadCodec {
  private let encoder: @Sendable () -> JSONEncoder
  private let decoder: @Sendable () -> JSONDecoder

  /// A codec with encoders and decoders of your making; plain ones by default.
  ///
  /// - Parameters:
  ///   - encoder: makes the encoder of a value, with the strategies that you choose; one for each, as
  ///     an encoder belongs to one task at a time.
  ///   - decoder: the same of the decoder.
  public init(
    encoder: @escaping @Sendable () -> JSONEncoder = { JSONEncoder() },
    decoder: @escaping @Sendable () -> JSONDecoder = { JSONDecoder() }
  ) {
    self.encoder = encoder
    self.decoder = decoder
  }

  /// The value as JSON, by an encoder of its own.
  ///
  /// - Throws: what the encoder throws.
  /// - Complexity: O(bytes of the JSON), and an encoder.
  public func encode(_ value: Value) throws -> [UInt8] { Array(try encoder().encode(value)) }

  /// The value that the JSON says, by a decoder of its own.
  ///
  /// - Throws: what the decoder throws.
  /// - Complexity: O(payload), and a decoder.
  public func decode(_ payload: [UInt8]) throws -> Value {
    try decoder().decode(Value.self, from: Data(payload))
  }
}
