// The look: neutral warm surfaces and one ember accent, for what is live and for the primary action.

import { theme, type ThemeConfig } from "antd";

const FONT =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "PingFang SC", "Hiragino Sans GB", ' +
  '"Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", sans-serif';
export const MONO_FONT =
  'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", "Noto Sans Mono CJK SC", monospace';

const SHARED = {
  borderRadius: 6,
  fontFamily: FONT,
  fontFamilyCode: MONO_FONT,
  fontSize: 14,
  controlHeight: 34,
  motionDurationMid: "0.12s",
  motionDurationSlow: "0.18s",
  wireframe: false,
} as const;

const SHARED_COMPONENTS = {
  Menu: { itemBg: "transparent", itemHeight: 38, itemMarginBlock: 2 },
};
const SHARED_TABLE = { headerSplitColor: "transparent" };

// Every pair of text and ground below has a contrast of at least 4.5 (WCAG AA).
export const LIGHT: ThemeConfig = {
  algorithm: theme.defaultAlgorithm,
  token: {
    ...SHARED,
    colorPrimary: "#b8430f",
    colorPrimaryHover: "#a03a0c",
    colorLink: "#a83c0c",
    colorLinkHover: "#872f08",
    colorLinkActive: "#6b2506",
    colorInfo: "#4a6076",
    colorSuccess: "#2f7a3c",
    colorWarning: "#946200",
    colorError: "#b3261e",
    colorSuccessBg: "#eef5ed",
    colorSuccessBorder: "#bfd8c0",
    colorWarningBg: "#fbf4e3",
    colorWarningBorder: "#e5d3a0",
    colorErrorBg: "#fcf0ee",
    colorErrorBorder: "#ecc4bf",
    colorInfoBg: "#f0f3f6",
    colorInfoBorder: "#cdd7e0",
    colorPrimaryBg: "#fbeee6",
    colorBgLayout: "#f6f4f1",
    colorBgContainer: "#ffffff",
    colorBorder: "#d5cdc4",
    colorBorderSecondary: "#e7e1da",
    colorText: "#231e1a",
    colorTextSecondary: "#5b524a",
    colorTextTertiary: "#6d635a",
    colorTextDescription: "#665c53",
    colorTextPlaceholder: "#746a61",
    colorTextQuaternary: "#8a8078",
  },
  components: {
    ...SHARED_COMPONENTS,
    Layout: { siderBg: "#fbfaf8", headerBg: "#fbfaf8" },
    Table: SHARED_TABLE,
  },
};

export const DARK: ThemeConfig = {
  algorithm: theme.darkAlgorithm,
  token: {
    ...SHARED,
    colorPrimary: "#f08a4b",
    colorLink: "#f29a62",
    colorLinkHover: "#f7b78e",
    colorLinkActive: "#fbd3b8",
    colorInfo: "#93a9bf",
    colorSuccess: "#6fbf7c",
    colorWarning: "#dba63a",
    colorError: "#f58a80",
    colorSuccessBg: "#18231a",
    colorSuccessBorder: "#34513a",
    colorWarningBg: "#272012",
    colorWarningBorder: "#574722",
    colorErrorBg: "#2a1816",
    colorErrorBorder: "#5f3430",
    colorInfoBg: "#1a1e22",
    colorInfoBorder: "#38434e",
    colorBgBase: "#151210",
    colorTextBase: "#efe8e1",
    colorBgLayout: "#131110",
    colorBgContainer: "#1b1816",
    colorBgElevated: "#26211e",
    colorBorder: "#443c36",
    colorBorderSecondary: "#302a26",
    colorText: "#ece5de",
    colorTextSecondary: "#b6aba1",
    colorTextTertiary: "#a0958b",
    colorTextDescription: "#a89d93",
    colorTextPlaceholder: "#95897f",
    colorTextLightSolid: "#1b130d",
  },
  components: {
    ...SHARED_COMPONENTS,
    Layout: { siderBg: "#171412", headerBg: "#171412" },
    Menu: { ...SHARED_COMPONENTS.Menu, itemSelectedBg: "#2c1f17" },
    Table: { ...SHARED_TABLE, headerBg: "#211d1a", headerColor: "#b6aba1", rowHoverBg: "#211d1a" },
    Progress: { defaultColor: "#f08a4b", remainingColor: "#332c27" },
    Tooltip: { colorTextLightSolid: "#f4eee8" },
    Button: { primaryColor: "#1b130d", dangerColor: "#1b130d" },
  },
};
