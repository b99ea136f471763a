// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One run of the program under strace, and its result.
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
  ///   - options: the options for strace.
  ///   - files: the directory for the trace, the output and the error messages.
  init(
    _ program: String, _ arguments: [String], strace options: [String], files: String
  ) throws(Broken) {
    let (trace, output, complaints) = (files + "/trace", files + "/output", files + "/errors")
    Posix.remove(trace)
    let child = try Child(
      ["-f", "-qq", "-y", "-s", "200", "-o", trace] + options + [program] + arguments,
      program: "strace", output: output, errors: complaints, withInput: false)
    guard try child.nextLine(within: 60_000) == .end else {
      throw child.hangs("the program hangs")
    }
    ending = child.ending()
    // The rest after the last newline is no line.
    lines = String(decoding: try Posix.contents(output), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    errors = String(decoding: try Posix.contents(complaints), as: UTF8.self)
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
