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
    mend: "只能用 system、user、assistant 或 tool。",
  }),
  not_text: () => ({ problem: "内容不是文字。", mend: "把内容写成一个字符串。" }),
  bad_text: () => ({ problem: "含有半个代理对，不构成字符。", mend: "写出完整的字符。" }),
  empty_answer: () => ({ problem: "回答是空的，学不到东西。", mend: "写上回答，或删除这一行。" }),
  late_system: () => ({ problem: "系统轮次不在最前面。", mend: "把它移到最前面。" }),
  answer_first: () => ({ problem: "还没有人提问就回答了。", mend: "在它前面加上用户的轮次。" }),
  no_answer: () => ({ problem: "没有助手的回答，学不到东西。", mend: "加上回答，或删除这一行。" }),
  stray_tool: () => ({
    problem: "这是工具的结果，但没有谁调用过工具。",
    mend: "在它前面加上带 tool_calls 的助手轮次。",
  }),
  unknown_call: (p) => ({
    problem: `它是 ${n(p.found)}，前面没有这个 id 的调用。`,
    mend: "写上它所回应的调用的 id。",
  }),
  bad_call: () => ({
    problem: "这不是一次函数调用。",
    mend: '写成 {"function": {"name": "...", "arguments": {...}}}。',
  }),
  misplaced_call: () => ({
    problem: "只有助手的轮次可以带工具调用。",
    mend: "把 tool_calls 移到助手的轮次。",
  }),
  bad_tools: () => ({
    problem: "这不是函数的说明。",
    mend: '写成 {"type": "function", "function": {"name": "...", "parameters": {...}}}。',
  }),
  bad_weight: (p) => ({
    problem: `权重是 ${n(p.found)}，不是 0 或更大的数。`,
    mend: "写成 0、0.5 或 1 这样的数，或删除它。",
  }),
  weighted_tool: () => ({
    problem: "工具的结果不是模型写的，不能有权重。",
    mend: "删除它的 loss_weight。",
  }),
  not_row: () => ({ problem: "这一行不是对象。", mend: "写成带有该格式字段的对象。" }),
  bad_bytes: () => ({ problem: "含有不是 UTF-8 的字节。", mend: "用 UTF-8 编码保存文件。" }),
  bad_csv: () => ({
    problem: "这一行不是 CSV。",
    mend: "含有逗号、引号或换行的单元格要放进引号里。",
  }),
  bad_width: (p) => ({
    problem: `这一行有 ${n(p.found)} 个单元格，表头有 ${n(p.wanted)} 个。`,
    mend: "含有逗号的单元格要放进引号里，或补上缺少的单元格。",
  }),
  empty_text: () => ({ problem: "文字是空的，学不到东西。", mend: "写上文字，或删除这一行。" }),
  bad_pair: () => ({ problem: "这不是一问一答。", mend: '写成 ["问题", "回答"]。' }),
  bad_speaker: (p) => ({
    problem: `说话者是 ${n(p.found)}。`,
    mend: "只能用 system、human、gpt、function_call 或 observation。",
  }),
  no_dialogue: () => ({
    problem: "没有 ### Human: 和跟在后面的 ### Assistant:。",
    mend: "把它们写在各轮前面，或把格式指定为 text。",
  }),
  bad_chat: () => ({
    problem: "这不是对话的轮次。",
    mend: '写成 {"turn_1": {"Human": "...", "MOSS": "..."}}。',
  }),
  bad_command: () => ({ problem: "这不是一条命令。", mend: '写成 Name("参数")，或 None。' }),
  bad_answer: () => ({
    problem: "这不是回答。",
    mend: "写成文字，或以助手结尾的消息列表。",
  }),
  no_prompt: () => ({
    problem: "两个回答没有共同的问题。",
    mend: "加上 prompt，或让 chosen 和 rejected 以相同的轮次开头。",
  }),
  same_answers: () => ({
    problem: "它与 chosen 相同，没有可偏好的。",
    mend: "写上另一个回答，或删除这一行。",
  }),
  template_refused: (p) => ({
    problem: `模型的对话模板拒绝这一行：${n(p.detail)}。`,
    mend: "按提示修改这一行，或换一个模型。",
  }),
};
