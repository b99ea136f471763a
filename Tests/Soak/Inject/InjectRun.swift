// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One run of the program, under strace or not, and its result.
struct InjectRun {
  var ending: Child.Ending
  /// The whole lines of standard output.
  var lines: [String]
  var errors: String
  /// The output of strace, with one call a line.
  private var log: [Substring]

  struct Hit: Equatable {
    var call: String
    /// The arguments, as far as strace printed them.
    var arguments: String
  }

  /// Runs a program.
  ///
  /// - Parameters:
  ///   - options: the options for strace. Nil to run the program without it.
  ///   - files: the directory for the trace, the output and the error messages.
  init(
    _ program: String, _ arguments: [String], strace options: [String]?, files: String
  ) throws(Broken) {
    let (trace, output, complaints) = (files + "/trace", files + "/output", files + "/errors")
    Posix.remove(trace)
    let child: Child
    if let options {
      child = try Child(
        ["-f", "-qq", "-y", "-s", "200", "-o", trace] + options + [program] + arguments,
        program: "strace", output: output, errors: complaints, withInput: false)
    } else {
      child = try Child(
        arguments, program: program, output: output, errors: complaints, withInput: false)
    }
    guard try child.nextLine(within: 60_000) == .end else {
      throw child.hangs("the program hangs")
    }
    ending = child.ending()
    // The rest after the last newline is no line.
    lines = String(decoding: try Posix.contents(output), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    errors = String(decoding: try Posix.contents(complaints), as: UTF8.self)
    guard options != nil else {
      log = []
      return
    }
    guard let text = try? Posix.contents(trace) else {
      throw Broken("strace traces nothing here (ptrace has to be allowed): \(errors)")
    }
    log = String(decoding: text, as: UTF8.self).split(separator: "\n")
  }

  /// The calls that strace made fail.
  var hits: [Hit] {
    var hits: [Hit] = []
    for (index, line) in log.enumerated() where line.hasSuffix("(INJECTED)") {
      if let hit = Self.call(in: line) {
        hits.append(hit)
      } else if let thread = line.split(separator: " ").first,
        // The call began on another line, because another thread came between.
        let begun = log[..<index].last(where: {
          $0.hasPrefix(thread + " ") && $0.hasSuffix("<unfinished ...>")
        }), let hit = Self.call(in: begun)
      {
        hits.append(hit)
      }
    }
    return hits
  }

  /// The names of all calls that were made.
  var calls: Set<String> { Set(log.compactMap { Self.call(in: $0)?.call }) }

  /// The places of the calls of a name, as strace counts them: from 1, for each thread alone.
  ///
  /// - Parameter path: counts all calls, and returns the places of those about this path or below.
  func places(of name: String, below path: String = "") -> [Int] {
    var counts: [Substring: Int] = [:]
    var places: Set<Int> = []
    for line in log where Self.call(in: line)?.call == name {
      let thread = line.prefix { $0 != " " }
      counts[thread, default: 0] += 1
      if path.isEmpty || line.contains(path) { places.insert(counts[thread, default: 0]) }
    }
    return places.sorted()
  }

  /// The paths below a directory that calls were about.
  func paths(below directory: String) -> Set<String> {
    var paths: Set<String> = []
    for line in log {
      for part in line.split(separator: "<").dropFirst() {
        let path = part.prefix { $0 != ">" }
        if path.hasPrefix(directory) { paths.insert(String(path)) }
      }
    }
    return paths
  }

  /// Parses `1234  fsync(5</a/path>)  = 0`. Nil if the call began on an earlier line.
  private static func call(in line: Substring) -> Hit? {
    guard let open = line.firstIndex(of: "("),
      let name = line[..<open].split(separator: " ").last, !line.contains("<... ")
    else { return nil }
    return Hit(call: String(name), arguments: String(line[line.index(after: open)...]))
  }
}
