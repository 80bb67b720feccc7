"""Four-letter words, asked of a real server and read by the parsers."""

import pytest
import trio

import zk_trio as zk
from tests.support.proxy import ChaosProxy
from tests.support.servers import AnyServer
from zk_sansio import client as words

pytestmark = pytest.mark.trio


async def test_every_word_is_answered(server: AnyServer) -> None:
    for word in words.FOUR_LETTER_WORDS:
        answer = await zk.four_letter_word(server.hosts, word)
        assert answer or word == "hash"


async def test_what_they_say_of_a_client(client: zk.Client, server: AnyServer, root: str) -> None:
    path = await client.create(f"{root}/e", ephemeral=True)

    async def ask(word: str) -> str:
        return await zk.four_letter_word(server.hosts, word)

    async with client.watch(root):
        stats = words.parse_srvr(await ask("srvr"))
        assert stats.version_info == server.version_info
        assert stats.mode == "standalone"
        assert not stats.read_only
        assert stats.zxid >= client.last_zxid
        assert stats.node_count > await client.count_descendants("/")
        assert words.parse_isro(await ask("isro")) == "rw"
        assert (await ask("ruok")) == "imok"
        assert words.parse_mntr(await ask("mntr"))["zk_server_state"] == "standalone"
        assert words.parse_conf(await ask("conf"))["clientPort"] == str(server.port)
        assert "java.version" in words.parse_envi(await ask("envi"))
        assert words.parse_dirs(await ask("dirs"))["logdir_size"] >= 0
        (mine,) = [found for found in words.parse_cons(await ask("cons")) if found.get("sid") == client.session_id]
        assert mine["to"] == round(client.session_timeout * 1000)
        assert words.parse_wchs(await ask("wchs")).watches >= 1
        assert words.parse_wchc(await ask("wchc"))[client.session_id] == (root,)
        assert words.parse_wchp(await ask("wchp"))[root] == (client.session_id,)
        dump = words.parse_dump(await ask("dump"))
        assert client.session_id in dump.sessions
        assert dump.ephemerals[client.session_id] == (path,)


async def test_refusals(server: AnyServer, proxy: ChaosProxy) -> None:
    with pytest.raises(zk.FourLetterError):
        await zk.four_letter_word(server.hosts, "none")
    with pytest.raises(zk.FourLetterError):
        await zk.four_letter_word(server.hosts, "longer")
    with pytest.raises(zk.FourLetterError):
        await zk.four_letter_word(f"{server.hosts},{proxy.hosts}", "ruok")
    proxy.black_hole()
    began = trio.current_time()
    with pytest.raises(zk.FourLetterError, match="no answer"):
        await zk.four_letter_word(proxy.hosts, "ruok", within=0.2)
    assert trio.current_time() < began + 1.2
    proxy.heal()
    proxy.refuse()
    with pytest.raises(zk.ConnectError):
        await zk.four_letter_word(proxy.hosts, "ruok")
