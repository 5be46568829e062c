// The units of the launch form's numbers in Chinese.

export const units: Record<string, string> = {
  tokens: "词元",
  steps: "步",
  passes: "遍",
  minutes: "分钟",
  bytes: "字节",
};
