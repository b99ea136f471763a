// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

#if canImport(FoundationEssentials)
  public import FoundationEssentials
#else
  public import Foundation
#endif

/// Encodes `Codable` values as JSON, for `values(_:)` of a writer, a reader, a consumer or a
/// channel.
///
/// ```swift
/// let readings = try DiskChannel(topic: "readings").values(JSONCodec<Reading>())
/// try await readings.send(Reading(celsius: 21.5))
/// for try await message in readings {
///   try await upload(message.value())
///   try message.acknowledge()
/// }
/// ```
public struct JSONCodec<Value: Codable>: PayloadCodec {
  private let encoder: @Sendable () -> JSONEncoder
  private let decoder: @Sendable () -> JSONDecoder

  /// Makes a codec with your own encoders and decoders. By default they have no special strategies.
  ///
  /// - Parameters:
  ///   - encoder: Makes the encoder of one value, with the strategies that you choose. It is called
  ///     for each value, because an encoder belongs to one task at a time.
  ///   - decoder: Makes the decoder of one value, under the same conditions.
  public init(
    encoder: @escaping @Sendable () -> JSONEncoder = { JSONEncoder() },
    decoder: @escaping @Sendable () -> JSONDecoder = { JSONDecoder() }
  ) {
    self.encoder = encoder
    self.decoder = decoder
  }

  /// Encodes a value as JSON, with its own encoder.
  ///
  /// - Throws: The errors of the encoder.
  /// - Complexity: O(bytes of the JSON), and an encoder.
  public func encode(_ value: Value) throws -> [UInt8] { Array(try encoder().encode(value)) }

  /// Decodes a value from JSON, with its own decoder.
  ///
  /// - Throws: The errors of the decoder.
  /// - Complexity: O(payload), and a decoder.
  public func decode(_ payload: [UInt8]) throws -> Value {
    try decoder().decode(Value.self, from: Data(payload))
  }
}
