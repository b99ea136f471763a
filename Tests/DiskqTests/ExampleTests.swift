// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Testing

@testable import diskq

@Suite("The examples at the end of a verb's help")
struct ExampleTests {
  /// The lines of shell in a verb's section of examples.
  private func examples(of verb: any ParsableCommand.Type) -> [String] {
    let discussion = verb.configuration.discussion
    guard let heading = discussion.range(of: "\n\n\(Examples.heading)\n") else { return [] }
    return discussion[heading.upperBound...].split(separator: "\n").map(String.init)
      .filter { !$0.hasPrefix("  # ") }
  }

  /// Splits a line of shell into its commands and their words. It knows single quotes, pipes and
  /// redirections.
  private func commands(_ line: String) -> [[String]] {
    var commands: [[String]] = [[]]
    var word: String?
    var isQuoted = false
    func endWord() {
      if let word { commands[commands.count - 1].append(word) }
      word = nil
    }
    for character in line {
      switch character {
      case "'":
        isQuoted.toggle()
        word = word ?? ""
      case _ where isQuoted: word = (word ?? "") + String(character)
      case " ": endWord()
      case "|":
        endWord()
        commands.append([])
      default: word = (word ?? "") + String(character)
      }
    }
    endWord()
    return commands.map { words in
      Array(words.prefix { $0 != ">" && $0 != "<" && $0 != ">>" && $0 != "&&" })
    }
  }

  @Test("every example has a purpose, fits a terminal, and is accepted by the parser")
  func parse() throws {
    var examples = 0
    for verb in diskq.Diskq.configuration.subcommands {
      let lines = self.examples(of: verb)
      #expect((3...6).contains(lines.count), "\(verb._commandName)")
      for line in lines {
        examples += 1
        #expect(line.hasPrefix("  ") && line.utf8.count <= 78, "\(line)")
        let commands = commands(line).filter { $0.first == "diskq" }
        #expect(!commands.isEmpty, "\(line)")
        for command in commands {
          #expect(throws: Never.self, "\(line)") {
            try diskq.Diskq.parseAsRoot(Array(command.dropFirst()))
          }
        }
        #expect(commands.contains { $0.dropFirst().first == verb._commandName }, "\(line)")
      }
      let purposes = verb.configuration.discussion.components(separatedBy: "\n  # ").count - 1
      #expect(purposes == lines.count, "\(verb._commandName)")
    }
    #expect(examples >= 40)
  }

  @Test("the help shows each example on a line of its own")
  func help() throws {
    let help = try Diskq.run("append", "--help").lines
    for line in examples(of: AppendCommand.self) { #expect(help.contains(line)) }
  }

  @Test(
    "a misspelled command names the one that it resembles",
    arguments: [
      ("apend", "append"), ("raed", "read"), ("consmue", "consume"), ("consumer", "consumers"),
      ("verfiy", "verify"), ("frob", nil), ("hlep", "help"), ("xyz", nil), ("cons", "consume"),
      ("READ", "read"),
    ] as [(String, String?)])
  func misspelled(word: String, command: String?) throws {
    let outcome = try Diskq.run(word, "topic")
    #expect(outcome.status == 64)
    let suggestion = command.map { ". Did you mean '\($0)'?" } ?? ""
    #expect(outcome.errorLines.first == "Error: There is no command '\(word)'\(suggestion)")
    #expect(outcome.errors.contains("Usage: diskq"))
    let help = try Diskq.run("help", word)
    #expect(help.status == 64)
    #expect(help.errorLines.first == outcome.errorLines.first)
  }

  @Test("a misspelled option names the one that it resembles")
  func misspelledOption() throws {
    let outcome = try Diskq.run("read", "topic", "--folow")
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("Did you mean '--follow'?"))
  }

  @Test(
    "a negative number is refused as the value that it is",
    arguments: [
      ["read", "t", "--limit", "-1"], ["clean", "t", "--keep-records", "-3"],
      ["append", "t", "--slab-size", "-1"], ["clean", "t", "--keep-age", "-1d"],
      ["consume", "t", "--consumer", "a", "--limit", "-7"], ["bench", "t", "--seconds", "-2"],
    ])
  func negative(arguments: [String]) throws {
    let outcome = try Diskq.run(arguments)
    #expect(outcome.status == 64)
    let option = arguments[arguments.count - 2]
    #expect(
      outcome.errors.hasPrefix(
        "Error: The value '\(arguments.last ?? "")' is invalid for '\(option)")
        || outcome.errors.hasPrefix("Error: \(option)"),
      "\(outcome.errors)")
  }

  @Test("only a number after an option is joined to it")
  func joining() {
    for (arguments, joined) in [
      (["read", "t", "--limit", "-1"], ["read", "t", "--limit=-1"]),
      (["append", "t", "--", "--limit", "-1"], ["append", "t", "--", "--limit", "-1"]),
      (["append", "t", "-"], ["append", "t", "-"]), (["--limit=3", "-1"], ["--limit=3", "-1"]),
      (["read", "-h"], ["read", "-h"]),
      (["append", "--ensure", "-"], ["append", "--ensure", "-"]),
    ] {
      #expect(Spelling.joiningNegativeNumbers(arguments) == joined)
    }
  }
}
