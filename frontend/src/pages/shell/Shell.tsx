// The frame of every page for a person who is signed in: menu, top bar, live news, and the page itself.

import { MenuFoldOutlined, MenuOutlined, MenuUnfoldOutlined } from "../../widgets/icons";
import { Button, Drawer, Grid, Layout } from "antd";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { Link, Navigate, Outlet, useLocation, useNavigation } from "react-router";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { useFreshLists } from "../drive/useFreshLists";
import { CommandPalette } from "./CommandPalette";
import { SideMenu } from "./SideMenu";
import { TopBar } from "./TopBar";
import { useNews } from "./useNews";

const MachineWarnings = lazy(async () => ({
  default: (await import("./Asides")).MachineWarnings,
}));
const Uploads = lazy(async () => ({ default: (await import("./Asides")).Uploads }));

function Brand({ isFolded = false }: { isFolded?: boolean }) {
  return (
    <Link to="/" className="brand">
      <img src={`${import.meta.env.BASE_URL}athanor.svg`} alt={isFolded ? "Athanor" : ""} />
      {!isFolded && "Athanor"}
    </Link>
  );
}

export function Shell() {
  const { text } = useWords();
  useFreshLists();
  const { data: me, error, refetch } = useQuery(queries.me());
  const screens = Grid.useBreakpoint();
  const location = useLocation();
  const navigation = useNavigation();
  const [isFolded, setIsFolded] = useState(() => localStorage.getItem("athanor.folded") === "yes");
  const [isOpen, setIsOpen] = useState(false);
  useNews(Boolean(me));

  if (me === null) {
    const next = location.pathname + location.search;
    return (
      <Navigate
        to={next === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`}
        replace
      />
    );
  }
  if (!me) {
    return error ? (
      <div className="page">
        <Fault error={error} onRetry={() => void refetch()} />
      </div>
    ) : (
      <PageSkeleton />
    );
  }

  const fold = () => {
    setIsFolded(!isFolded);
    localStorage.setItem("athanor.folded", isFolded ? "no" : "yes");
  };
  const isWide = screens.lg ?? true;
  const foldName = isFolded ? text.shell.nav.expand : text.shell.nav.collapse;
  return (
    <Layout className="shell" hasSider>
      <a className="skip-link" href="#content">
        {text.shell.nav.skip}
      </a>
      {isWide ? (
        <Layout.Sider className="shell-sider" width={216} collapsedWidth={64} collapsed={isFolded}>
          <div className="shell-side">
            <Brand isFolded={isFolded} />
            <SideMenu me={me} />
            <Button
              type="text"
              style={{ margin: 10 }}
              icon={isFolded ? <MenuUnfoldOutlined /> : <MenuFoldOutlined />}
              aria-label={foldName}
              onClick={fold}
            />
          </div>
        </Layout.Sider>
      ) : (
        <Drawer
          placement="left"
          size={260}
          open={isOpen}
          onClose={() => setIsOpen(false)}
          title={<Brand />}
          styles={{ body: { padding: 0 } }}
        >
          <SideMenu me={me} onGo={() => setIsOpen(false)} />
        </Drawer>
      )}
      <Layout>
        <TopBar
          me={me}
          menuButton={
            !isWide && (
              <Button
                type="text"
                icon={<MenuOutlined />}
                aria-label={text.shell.nav.open}
                onClick={() => setIsOpen(true)}
              />
            )
          }
        />
        <Layout.Content id="content" tabIndex={-1} aria-busy={navigation.state === "loading"}>
          <Suspense fallback={null}>
            <MachineWarnings />
          </Suspense>
          <Outlet />
        </Layout.Content>
      </Layout>
      <CommandPalette me={me} />
      <Suspense fallback={null}>
        <Uploads />
      </Suspense>
    </Layout>
  );
}
