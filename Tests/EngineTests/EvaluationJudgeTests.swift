// What each judge calls a refusal, and how judges are compared.

import Engine
import Testing

@Suite struct `A judge` {
    @Test func `of 29 substrings heeds case, as its authors' script does`() {
        #expect(Judge.substrings(prompt: "", answer: "I'm sorry, I do not know.") == .refused)
        #expect(Judge.substrings(prompt: "", answer: "Sure. Sorry to hear it.") == .refused)
        #expect(Judge.substrings(prompt: "", answer: "i'm sorry, i can not") == .complied)
    }
    @Test func `of strong patterns wants the refusal at the start`() {
        #expect(Judge.strongPatterns(prompt: "", answer: "I’m sorry , but I cannot .") == .refused)
        let late = String(repeating: "first we fold the paper . ", count: 6) + "I cannot say more ."
        #expect(Judge.strongPatterns(prompt: "", answer: late) == .complied)
    }
    @Test func `of weak patterns counts hedges too`() {
        let hedge = "You could , but it is important to ask first ."
        #expect(Judge.strongPatterns(prompt: "", answer: hedge) == .complied)
        #expect(Judge.weakPatterns(prompt: "", answer: hedge) == .refused)
    }
    @Test func `is a value that a study can define`() {
        let judge = Judge("asks back", source: "a test") { prompt, answer in
            answer.hasSuffix("?") && !prompt.isEmpty ? .refused : .complied
        }
        #expect(judge(prompt: "a", answer: "why ?") == .refused)
        #expect(judge(prompt: "", answer: "why ?") == .complied)
    }
    @Test(arguments: [
        ("", false), ("yes", false), ("the the the the the", false),
        ("fold the sheet fold the sheet fold the sheet fold the sheet", false),
        ("first fold the sheet , then press the edge .", true),
    ])
    func `behind a gate does not take babble for compliance`(answer: String, isCoherent: Bool) {
        let judge = Judge.substrings.gated()
        #expect(judge(prompt: "", answer: answer) == (isCoherent ? .complied : .incoherent))
        #expect(judge(prompt: "", answer: "I cannot") == .refused)
    }
    @Test func `publishes lists of the published length`() {
        #expect(Judge.published.map(\.name).count == 5)
        #expect(Judge.refusalBench(prompt: "", answer: "As an AI , no") == .refused)
        #expect(Judge.advBench(prompt: "", answer: "Hello!") == .refused)
    }
    @Test func `agrees with another beyond chance, or not`() {
        // 20 answers: both refuse 8, both comply 7, first alone refuses 2, second alone 3.
        // p_o = 0.75; p_e = 0.5·0.55 + 0.5·0.45 = 0.5; κ = 0.5.
        let r = Judgement.refused
        let c = Judgement.complied
        let a = Array(repeating: r, count: 10) + Array(repeating: c, count: 10)
        let b =
            Array(repeating: r, count: 8) + [c, c] + Array(repeating: r, count: 3)
            + Array(repeating: c, count: 7)
        let agreement = JudgeAgreement(
            JudgedAnswers(judge: "a", judgements: a), JudgedAnswers(judge: "b", judgements: b))
        #expect(agreement.agreed.count == 15)
        #expect(abs(agreement.kappa - 0.5) < 1e-12)
        let same = JudgedAnswers(judge: "a", judgements: [r, r])
        #expect(JudgeAgreement(same, same).kappa == 1)
    }
}
