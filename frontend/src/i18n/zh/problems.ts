// Bad rows in Chinese, by the codes of engine/specs/messages.py. The field's path is shown beside them.

import type { Params } from "../params";
import { n } from "../params";

export const problem: Record<string, (p: Params) => { problem: string; mend: string }> = {
  line_too_long: (p) => ({ problem: `这一行超过 ${n(p.most)} 字节。`, mend: "把对话拆成几行。" }),
  not_utf8: (p) => ({
    problem: `第 ${n(p.position)} 个字节不是 UTF-8。`,
    mend: "用 UTF-8 编码保存文件。",
  }),
  not_json: (p) => ({
    problem: `这一行不是 JSON（第 ${n(p.column)} 列）。`,
    mend: "每行写一个 JSON 对象。",
  }),
  not_object: () => ({ problem: "这一行不是对象。", mend: '写成 {"messages": [...]}。' }),
  missing: (p) => ({ problem: "缺少这个字段。", mend: `补上 ${n(p.field)}。` }),
  not_list: () => ({
    problem: "它不是列表。",
    mend: "写成对话轮次的列表，每轮有 role 和 content。",
  }),
  empty_list: () => ({ problem: "列表是空的。", mend: "加上用户和助手的轮次，或删除这一行。" }),
  not_turn: () => ({
    problem: "这一轮不是对象。",
    mend: '写成 {"role": "user", "content": "..."}。',
  }),
  bad_role: (p) => ({
    problem: `角色是 ${n(p.found)}。`,
    mend: "只能用 system、user 或 assistant。",
  }),
  not_text: () => ({ problem: "内容不是文字。", mend: "把内容写成一个字符串。" }),
  bad_text: () => ({ problem: "含有半个代理对，不构成字符。", mend: "写出完整的字符。" }),
  empty_answer: () => ({ problem: "回答是空的，学不到东西。", mend: "写上回答，或删除这一行。" }),
  late_system: () => ({ problem: "系统轮次不在最前面。", mend: "把它移到最前面。" }),
  answer_first: () => ({ problem: "还没有人提问就回答了。", mend: "在它前面加上用户的轮次。" }),
  no_answer: () => ({ problem: "没有助手的回答，学不到东西。", mend: "加上回答，或删除这一行。" }),
};
