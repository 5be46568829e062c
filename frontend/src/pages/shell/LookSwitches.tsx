// Language and theme, one press each.

import { GlobalOutlined, MoonOutlined, SunOutlined } from "../../widgets/icons";
import { Button, Tooltip } from "antd";
import { useChoices } from "../../App";
import { useWords } from "../../i18n";

export function LookSwitches({ className }: { className?: string }) {
  const { text } = useWords();
  const { language, theme, choose } = useChoices();
  const other = language === "zh" ? "en" : "zh";
  const themeName = theme === "dark" ? text.shell.theme.toLight : text.shell.theme.toDark;
  return (
    <div className={className} style={{ display: "flex" }}>
      <Button
        type="text"
        icon={<GlobalOutlined />}
        lang={other === "zh" ? "zh-CN" : "en"}
        onClick={() => choose({ language: other })}
      >
        {text.shell.language[other]}
      </Button>
      <Tooltip title={themeName}>
        <Button
          type="text"
          icon={theme === "dark" ? <SunOutlined /> : <MoonOutlined />}
          aria-label={themeName}
          onClick={() => choose({ theme: theme === "dark" ? "light" : "dark" })}
        />
      </Tooltip>
    </div>
  );
}
